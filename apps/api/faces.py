"""Pictures in, faces out: verify a claim, recognise everyone in a photo, encode."""

from __future__ import annotations

from io import BytesIO
from typing import Annotated

import numpy as np
import pandas as pd
from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from pydantic import BaseModel, Field

from apps.api.guard import reader
from apps.api.problems import USUAL, announced
from apps.api.service import Service
from facerec.detection import Detection, extract_faces, reading_order
from facerec.encoding import faces_to_encodings
from facerec.networks import confidence, info_of, threshold_for
from facerec.photos import load_image, named
from fr_utils import distance_to, identify

router = APIRouter(prefix="/api/v1", tags=["faces"], dependencies=[Depends(reader)], responses=USUAL)

#: A picture in a form.
Photo = Annotated[UploadFile, File(description="A photo: JPEG, PNG, WebP, HEIC and others, up to 10 MB")]

#: A number that a network may be unable to give.
Probability = Annotated[float | None, Field(description="0 to 1; null for a network without calibration")]

#: x, y, width and height of a face, in the photo's pixels.
Box = Annotated[tuple[int, int, int, int], Field(description="x, y, width, height, in pixels of the upright photo")]


class Verification(BaseModel):
    """Whether a photo shows the person who is claimed."""

    identity: str
    is_same: bool = Field(description="Whether the distance is below the threshold")
    distance: float = Field(description="Between the two encodings, 0 to 2")
    threshold: float
    confidence: Probability


class RecognisedFace(BaseModel):
    """A face of a photo, and who it is."""

    box: Box
    identity: str | None = Field(description="The person, or null for an unknown face")
    nearest: str = Field(description="The person whose encoding is nearest, known or not")
    distance: float
    confidence: Probability


class Recognition(BaseModel):
    """Everyone in a photo, in reading order."""

    faces: list[RecognisedFace]
    people: int = Field(description="How many people the faces were compared with")
    threshold: float = Field(description="Faces farther away are unknown; about 1 % of strangers get a name")


class EncodedFace(BaseModel):
    """A face of a photo, and its encoding."""

    box: Box
    score: float = Field(description="How sure the detector is that this is a face, 0 to 1")
    encoding: list[float] = Field(description="128 numbers of unit length")


class Encodings(BaseModel):
    """The faces of a photo, in reading order, and the network that encoded them."""

    faces: list[EncodedFace]
    network: str


def service_of(request: Request) -> Service:
    """The network and the people of the app that answers."""
    return request.app.state.service


Served = Annotated[Service, Depends(service_of)]


def picture_in(photo: UploadFile) -> BytesIO:
    """The file of a form for ``load_image``; what its sender calls it does not count."""
    return named(photo.file.read(), "the photo")


def _known(number: float) -> float | None:
    """A number, or None for NaN, which JSON does not have."""
    return None if pd.isna(number) else float(number)


@router.post("/verify", responses=announced(404, 409))
def verify(
    service: Served, photo: Photo, identity: Annotated[str, Form(description="The name that is claimed")]
) -> Verification:
    """Check a claim: does the largest face of the photo show this person?"""
    threshold = threshold_for(service.model)
    distance = service.turns.run(distance_to, picture_in(photo), identity, service.people, service.model)
    sure = _known(confidence(distance, service.model))
    return Verification(
        identity=identity, is_same=distance < threshold, distance=distance, threshold=threshold, confidence=sure
    )


@router.post("/recognise", responses=announced(409))
def recognise(service: Served, photo: Photo) -> Recognition:
    """Name every face of the photo; a photo without a face gives an empty list."""
    people = len(service.people)
    table = service.turns.run(identify, picture_in(photo), service.people, service.model)
    faces = [
        RecognisedFace(
            box=tuple(map(int, row.box)),
            identity=row.identity,
            nearest=row.nearest,
            distance=row.distance,
            confidence=_known(row.confidence),
        )
        for row in table.itertuples()
    ]
    return Recognition(faces=faces, people=people, threshold=threshold_for(service.model, people=people))


def _encoded(photo: Photo, service: Service) -> tuple[list[Detection], np.ndarray]:
    """The faces of a photo, and their encodings (m, 128)."""
    info = info_of(service.model)
    faces, found = extract_faces(load_image(picture_in(photo)), info.side, info.template)
    return found, faces_to_encodings(faces, service.model)


@router.post("/encode")
def encode(service: Served, photo: Photo) -> Encodings:
    """Encode every face of the photo, and keep nothing."""
    found, encodings = service.turns.run(_encoded, photo, service)
    order = reading_order([face["box"] for face in found])
    rows = [
        EncodedFace(
            box=tuple(map(int, found[i]["box"])),
            score=float(found[i]["score"]),
            encoding=[float(number) for number in encodings[i]],
        )
        for i in order
    ]
    return Encodings(faces=rows, network=service.people.network or "")
