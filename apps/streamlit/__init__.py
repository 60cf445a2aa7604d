"""The app for a team that knows its people.

    visitor ──choose──► a picture ──looking──► a face ──views──► an answer, shown by ``show``
                                                                 and noted in ``decisions``

``app`` is the server, with ``gate`` in front of it, and ``main`` the frame around every page. ``shared`` holds what
every page needs, and ``sidebar`` is beside every page. ``login``, with ``settings``, ``accounts`` and ``sessions``,
decides who may change people; ``first`` lets the first one in.
"""
