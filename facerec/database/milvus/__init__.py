"""People in Milvus, for more than one machine: a server, or the same engine in a file (milvus-lite).

    Milvus        engine.py       what ``FaceDatabase`` asks: state, reading, searching, forgetting
    MilvusChange  change.py       steps that belong together: gathered and checked first, then sent
    nearest       nearest.py      candidates, compared exactly
    Calls         calls.py        reading and writing rows: fresh, patient, each row once
    Collections   collections.py  making, completing and dropping collections beside others who do the same
                  rows.py         a person as Milvus' rows

An extra: ``pip install "face-recognition-course[scale]"``. ``FaceDatabase`` imports this package only when an address
asks for it. ``make test`` runs it on milvus-lite, ``make test-scale`` on a real server.

Milvus has no transactions over several calls. So a change is checked whole before any of it is sent, and many people
are one call where that is possible. Several calls are not all or nothing if the server fails, or the process is killed,
between them:

- several people (``update``, ``import_from``, ``clear``): those that were sent are changed, the others are not;
- replacing and renaming: the new rows are sent before the old ones are removed. In between a person is known by old and
  new encodings, or under both names; doing it again puts it right;
- two machines that write one person within half a second may both succeed: one person with the encodings of both, who
  may be counted and named twice until replaced. A name that ``rename`` or ``import_from`` finds free may be taken a
  moment later;
- two machines that name different networks first, at the same moment: if the server does not compare descriptions, the
  last one is noted, and the other machine is refused from its next call on;
- ``reencode`` refuses a state that others have changed, but for the last moment: what another machine writes in the
  milliseconds between its last look and the switch is lost.

Switching to a new collection is one call: everyone is encoded anew, or no one. A process that is killed before that
leaves an unused collection, and with it encodings; ``tidy`` removes it, on a server once it is a day old. Threads of
one process take turns, and a file belongs to one process until that ends, so in a file only kills can tear a change.
milvus-lite does not wait for the disk: a power cut may take the last changes.
"""

from facerec.database.milvus.engine import Milvus

__all__ = ["Milvus"]
