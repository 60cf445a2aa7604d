"""What the exercises need: a check for each, and encodings that were made beforehand so that a check takes no time."""
