"""People who outlive the process: ``FaceDatabase``, a mapping from identity to encoding that lasts.

    face_database     FaceDatabase: what users call
      archive         people in a ZIP file, to take elsewhere
      updates         many people at once
      one_person      pictures rearranged, two people merged, a removal undone
      reencoding      everyone re-encoded for another network
    opening           an address → its engine
    engine            the contract of the engines: Engine and Change
      sqlite          one file (the default)
      milvus          a server: an extra, imported when an address asks for it
    search            who is nearest, in memory
    names, pictures, entries    what is kept, checked

Nothing here imports Keras, so a database opens in half a second.
"""

from facerec.database.entries import (
    BadDatabase,
    DamagedDatabase,
    DamageFound,
    NotForgottenYet,
    OtherNetwork,
    UnknownPerson,
    fingerprint_of,
    mean_encoding,
)
from facerec.database.face_database import FaceDatabase
from facerec.database.names import check_name, known_like, names_alike, told_apart

__all__ = [
    "BadDatabase",
    "DamageFound",
    "DamagedDatabase",
    "FaceDatabase",
    "NotForgottenYet",
    "OtherNetwork",
    "UnknownPerson",
    "check_name",
    "fingerprint_of",
    "known_like",
    "mean_encoding",
    "names_alike",
    "told_apart",
]
