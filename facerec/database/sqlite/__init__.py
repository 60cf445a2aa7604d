"""People in one SQLite file: every change is one transaction, and a person who is forgotten leaves no trace.

SQLite       engine.py   what ``FaceDatabase`` asks: changes, reading, forgetting
  ▲
Searched     memory.py   the encodings in memory, searching among them, the index in the background
  ▲
Checked      checked.py  damage: found by checksums, named, left out
  ▲
SQLiteFile   file.py     the file: opening it safely, reading from it, saying what is wrong with it

SQLiteChange change.py   what can be done within a transaction
"""

from facerec.database.sqlite.engine import SQLite
from facerec.database.sqlite.file import is_open_here
from facerec.database.sqlite.memory import INDEX_FROM

__all__ = ["INDEX_FROM", "SQLite", "is_open_here"]
