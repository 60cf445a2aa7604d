"""The two web apps and the API, and what they share.

flask/       two pictures, one answer, nothing kept: ``make compare``
streamlit/   verify, recognise, and a database of people: ``make app``
api/         the same people, for programs: ``make api``

crowd        how much a crowd may take: pictures at once, connections, bytes, time
comparison   two networks compare two pictures
pictures     pictures as a page shows them
places       where the people, the keys and the network are, and the server's names
healthy      a container's health check; Dockerfile and compose.yaml run all three in containers
"""
