"""The people: list, add, rename, forget."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response, status
from pydantic import BaseModel, Field

from apps.api.faces import Photo, Served
from apps.api.guard import reader, writer
from apps.api.problems import Problem
from apps.api.service import Service
from facerec.database import known_like
from facerec.encoding import img_to_encoding
from facerec.errors import BadArgument
from facerec.networks import threshold_for
from facerec.photos import load_image

router = APIRouter(prefix="/api/v1/people", tags=["people"], dependencies=[Depends(reader)])

MISSING = {404: {"description": "No one has that name"}}
READ_ONLY = {403: {"description": "The key may only read"}}


class Person(BaseModel):
    """A person of the database."""

    identity: str
    encodings: int = Field(description="How many encodings they are known by")
    photos: int = Field(description="How many photos are kept")
    added: datetime
    changed: datetime


class People(BaseModel):
    """Some of the people, in the order in which they came."""

    people: list[Person]
    total: int = Field(description="How many there are in all")


class Added(BaseModel):
    """A person who was added, or is known by one more picture now."""

    identity: str
    encodings: int
    looks_like: str | None = Field(description="Another person who is this near, if there is one: the same person?")
    named_like: list[str] = Field(description="Others whose names are easily taken for this one")


class NewName(BaseModel):
    """Another name for a person."""

    identity: str = Field(max_length=200)


@router.get("")
def list_people(
    service: Served,
    search: Annotated[str, Query(description="Only names that contain this; case and accents do not count")] = "",
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> People:
    """List people."""
    table = service.people.people()
    if search.strip():
        table = table[table.identity.isin(service.people.find(search, limit=len(table)))]
    rows = table.iloc[offset : offset + limit]
    return People(people=[Person(**row) for row in rows.to_dict("records")], total=len(table))


@router.get("/{identity}", responses=MISSING)
def one_person(service: Served, identity: str) -> Person:
    """Show what is known about a person."""
    service.people.encodings(identity)  # refuses an unknown name, and suggests similar ones
    table = service.people.people()
    return Person(**table[table.identity == identity.strip()].iloc[0].to_dict())


@router.post(
    "/{identity}",
    status_code=status.HTTP_201_CREATED,
    dependencies=[Depends(writer)],
    responses=READ_ONLY | {200: {"model": Added, "description": "One more picture of a known person"}},
)
def add_picture(service: Served, response: Response, identity: str, photo: Photo) -> Added:
    """Add a person, or one more picture of a known one; the photo's largest face counts, and the photo is kept."""
    people, was_known = service.people, identity in service.people
    named = [] if was_known else known_like(identity.strip(), people)
    like = service.turns.run(_add, service, identity, photo)
    response.status_code = status.HTTP_200_OK if was_known else status.HTTP_201_CREATED
    count = len(people.encodings(identity))
    return Added(identity=identity.strip(), encodings=count, looks_like=like, named_like=named)


def _add(service: Service, identity: str, photo: Photo) -> str | None:
    """Add a picture; returns another person who looks like it, or None."""
    picture = load_image(photo.file)
    encoding = img_to_encoding(picture, service.model)
    like = _nearest_other(service, encoding, identity)
    service.people.add(identity, encoding, picture)
    return like


def _nearest_other(service: Service, encoding, identity: str) -> str | None:
    """Another person whose encoding is nearer than the threshold, or None."""
    names, distances = service.people.nearest(encoding, k=2)
    for name, distance in zip(names[0], distances[0], strict=True):
        if name is not None and name != identity.strip() and distance < threshold_for(service.model):
            return name
    return None


@router.patch("/{identity}", dependencies=[Depends(writer)], responses=MISSING | READ_ONLY | {409: {}})
def rename(service: Served, identity: str, new: NewName) -> Person:
    """Give a person another name."""
    try:
        service.people.rename(identity, new.identity)
    except BadArgument as error:
        if new.identity in service.people:
            raise Problem(409, f"{new.identity!r} is the name of another person.", "name-taken") from error
        raise
    return one_person(service, new.identity)


@router.delete(
    "/{identity}", status_code=status.HTTP_204_NO_CONTENT, dependencies=[Depends(writer)], responses=MISSING | READ_ONLY
)
def forget(service: Served, identity: str) -> None:
    """Forget a person: no trace of name, encodings or photos stays in the database's files."""
    service.people.forget(identity)
