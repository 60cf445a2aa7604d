"""The course as a website: ``make book``."""
