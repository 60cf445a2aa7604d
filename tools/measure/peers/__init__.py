"""Other ways to recognise faces, each in a process of its own: what ``make bench-peers`` compares with ours."""
