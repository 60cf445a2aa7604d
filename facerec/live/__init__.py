"""Cameras and films: frames, tracks, names, and what shows them in a window or a notebook."""
