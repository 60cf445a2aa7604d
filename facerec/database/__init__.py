"""People that outlive the process: ``FaceDatabase``."""

from facerec.database.entries import (
    MAX_NAME,
    MAX_PIXELS,
    PHOTO_SIDE,
    THUMBNAIL_SIDE,
    UNIT_WITHIN,
    BadDatabase,
    NobodyCalled,
    NotForgottenYet,
    OtherNetwork,
    check_encodings,
    check_name,
    fingerprint_of,
    mean_encoding,
)
from facerec.database.face_database import FaceDatabase
from facerec.database.sqlite import INDEX_FROM

__all__ = [
    "BadDatabase",
    "FaceDatabase",
    "INDEX_FROM",
    "MAX_NAME",
    "MAX_PIXELS",
    "NobodyCalled",
    "NotForgottenYet",
    "OtherNetwork",
    "PHOTO_SIDE",
    "THUMBNAIL_SIDE",
    "UNIT_WITHIN",
    "check_encodings",
    "check_name",
    "fingerprint_of",
    "mean_encoding",
]
