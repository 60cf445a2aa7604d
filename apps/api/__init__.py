"""The people of a database over HTTP: list, add, verify, recognise, forget; ``make api`` runs it.

    client ──key──► /api/v1/people, /verify, /recognise, /encode ──► FaceDatabase, FaceNet

``app`` puts it together. ``keys`` says who may read and who may write, ``guard`` limits sizes and rates and counts
requests, ``people`` answers about people, ``faces`` about pictures, ``problems`` words what went wrong. The description
of the API (OpenAPI 3.1) is at ``/api/openapi.json``, and a page to try it at ``/docs``. Pictures stay in memory; only
those that are added to a person are kept.
"""
