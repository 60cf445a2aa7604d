"""The app for a team that knows its people.

    visitor ──choose──► a picture ──looking──► a face ──views──► an answer, shown by ``show``
                                                                 and noted in ``decisions``

``shared`` holds what every page needs, and ``sidebar`` is beside every page. ``login``, with ``accounts``, decides who
may change people.
"""
