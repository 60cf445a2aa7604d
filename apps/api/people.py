"""The people: list, add, rename, forget."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response, status
from pydantic import BaseModel, Field

from apps.api.faces import Photo, Served, picture_in
from apps.api.guard import reader, writer
from apps.api.problems import USUAL, Problem, announced
from apps.api.service import Service
from facerec.database import check_name, known_like
from facerec.database.names import MAX_NAME, as_looked_up
from facerec.encoding import img_to_encoding
from facerec.errors import BadArgument
from facerec.networks import threshold_for
from facerec.photos import load_image

router = APIRouter(prefix="/api/v1/people", tags=["people"], dependencies=[Depends(reader)], responses=USUAL)

#: A person's path: a name may have a slash in it (AC/DC), but one at its end is a slip of the client's.
ONE = "/{identity:path}"
Name = Annotated[str, Path(pattern="[^/]$", max_length=MAX_NAME, description="The person's name")]


class Listing(BaseModel, extra="forbid"):
    """Which people are listed; a parameter that does not exist is refused, since it may be a slip."""

    search: str = Field("", description="Only names that contain this; case and accents do not count")
    offset: int = Field(0, ge=0, le=10**9)
    limit: int = Field(100, ge=1, le=1000)


class Person(BaseModel):
    """A person of the database."""

    identity: str
    encodings: int = Field(description="How many encodings the person has")
    photos: int = Field(description="How many photos are kept")
    added: datetime
    changed: datetime


class People(BaseModel):
    """Some of the people, in the order in which they came."""

    people: list[Person]
    total: int = Field(description="How many there are in all")


class Added(BaseModel):
    """A person who was added, or who got one more picture."""

    identity: str
    encodings: int
    looks_like: str | None = Field(description="A person within the threshold, perhaps the same one, or null")
    named_like: list[str] = Field(description="Others whose names are easily mistaken for this one")


class NewName(BaseModel):
    """Another name for a person."""

    identity: str = Field(min_length=1, max_length=MAX_NAME)


@router.get("")
def list_people(service: Served, asked: Annotated[Listing, Query()]) -> People:
    """List people."""
    table = service.people.people()
    if asked.search.strip():
        table = table[table.identity.isin(service.people.find(asked.search, limit=len(table)))]
    rows = table.iloc[asked.offset : asked.offset + asked.limit]
    return People(people=[Person(**row) for row in rows.to_dict("records")], total=len(table))


@router.get(ONE, responses=announced(404))
def one_person(service: Served, identity: Name) -> Person:
    """Show what is known about a person."""
    service.people.encodings(identity)  # refuses an unknown name, and suggests similar ones
    table = service.people.people()
    found = table[table.identity == as_looked_up(identity)].to_dict("records")
    if not found:
        raise Problem(404, f"{identity!r} was removed just now.", "unknown-person")
    return Person(**found[0])


@router.post(
    ONE,
    status_code=status.HTTP_201_CREATED,
    dependencies=[Depends(writer)],
    responses=announced(403) | {200: {"model": Added, "description": "One more picture of a known person"}},
)
def add_picture(service: Served, response: Response, identity: Name, photo: Photo) -> Added:
    """Add a person, or one more picture of a known one; the photo's largest face counts, and the photo is kept."""
    identity = check_name(identity)
    people, was_known = service.people, identity in service.people
    named = [] if was_known else known_like(identity, people)
    like = service.turns.run(_add, service, identity, photo)
    response.status_code = status.HTTP_200_OK if was_known else status.HTTP_201_CREATED
    return Added(identity=identity, encodings=len(people.encodings(identity)), looks_like=like, named_like=named)


def _add(service: Service, identity: str, photo: Photo) -> str | None:
    """Add a picture; returns another person who looks like it, or None."""
    picture = load_image(picture_in(photo))
    encoding = img_to_encoding(picture, service.model)
    like = _nearest_other(service, encoding, identity)
    service.people.add(identity, encoding, picture)
    return like


def _nearest_other(service: Service, encoding, identity: str) -> str | None:
    """Another person whose encoding is nearer than the threshold, or None."""
    names, distances = service.people.nearest(encoding, k=2)
    for name, distance in zip(names[0], distances[0], strict=True):
        if name is not None and name != identity and distance < threshold_for(service.model):
            return name
    return None


@router.patch(ONE, dependencies=[Depends(writer)], responses=announced(403, 404, 409))
def rename(service: Served, identity: Name, new: NewName) -> Person:
    """Give a person another name."""
    try:
        service.people.rename(identity, new.identity)
    except BadArgument as error:
        if new.identity in service.people:
            raise Problem(409, f"{new.identity!r} is the name of another person.", "name-taken") from error
        raise
    return one_person(service, new.identity)


@router.delete(
    ONE, status_code=status.HTTP_204_NO_CONTENT, dependencies=[Depends(writer)], responses=announced(403, 404)
)
def forget(service: Served, identity: Name) -> None:
    """Forget a person: no trace of name, encodings or photos stays in the database's files."""
    service.people.forget(identity)
