"""Do two pictures show one person? A web app that keeps nothing; ``make compare`` runs it.

    browser ──consent──► two pictures ──in memory──► comparison.Comparer ──► an answer; all is forgotten

``app`` puts it together. ``safety`` decides which requests are let in, ``faces`` works on the pictures, ``pages`` and
``api`` answer, ``problems`` words what went wrong, and ``server`` runs it all.
"""
