"""Studies and benchmarks: each writes its numbers to ``docs/results``."""
