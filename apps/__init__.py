"""The two web apps, and what both use.

flask/       two pictures, one answer, nothing kept: ``make compare``
streamlit/   verify, recognise, and a database of people: ``make app``

comparison   two networks compare two pictures
pictures     pictures as a page shows them
healthy      a container's health check; Dockerfile and compose.yaml run both apps in containers
"""
