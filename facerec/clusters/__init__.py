"""Faces that no one has named → people: group the faces of many photos, and look at them as an album.

photos ──cluster_photos──► a table with a row per face ──write_album──► a folder per person, and index.html
"""

from facerec.clusters.album import check_album, write_album
from facerec.clusters.linkage import cluster_encodings
from facerec.clusters.people import cluster_photos

__all__ = ["check_album", "cluster_encodings", "cluster_photos", "write_album"]
