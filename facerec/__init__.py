"""Face recognition, from a photo to a name: the library behind ``fr_utils``."""
