"""The command ``facerec``: what this project offers at a terminal.

    app          all commands together, and how an error ends one
      people     enrol, people, forget, export, import
      looking    who, verify
      albums     cluster
      cameras    collect, demo: a camera in a window
      serving    serve: the web apps
    answers      what ``who`` found, as a table, CSV or JSON
    sources      what a command is asked to look at: pictures, films, cameras
    opening      the network and the people that a command works with
    console      results on standard output, notes on standard error

Modules import Keras, OpenCV and pandas within the functions that need them: ``--help`` does not wait for any of them.
"""
