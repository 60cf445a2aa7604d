"""The app for a team that knows its people."""
