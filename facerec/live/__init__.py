"""Cameras and films: frames, tracks, names, and the windows that show them."""
