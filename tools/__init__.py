"""Commands that make, measure and look after what the project ships."""
