"""What keeps pins, pages and pictures true."""
