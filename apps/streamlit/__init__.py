"""The app for a team that knows its people.

    visitor ──choose──► a picture ──looking──► a face ──views──► an answer, shown by ``show``
                                                                 and noted in ``decisions``

``main`` draws the pages. ``shared`` holds what every page needs, and ``sidebar`` is beside every page. ``login``, with
``accounts``, decides who may change people. ``app`` is the server, and ``gate`` stands in front of it.
"""
