"""The API against its own description: requests that schemathesis makes from it get an answer that it announces."""

from __future__ import annotations

import numpy as np
import pytest

from facerec._files import ROOT
from tests.attacks import in_scans

pytestmark = pytest.mark.apps  # ten seconds

#: How many requests a path gets that fit its description, and how many that do not.
EXAMPLES = 50

PEOPLE = {"lena": np.eye(12)[0], "otto": np.eye(12)[1]}

PICTURES = [(ROOT / "images" / "lena.jpg").read_bytes(), b"", b"not a picture", in_scans(16, 200)]

#: Every path, and the answers that the requests must have met.
PATHS = {
    "GET /api/v1/people": {200, 422},
    "GET /api/v1/people/{identity}": {200, 404},
    "POST /api/v1/people/{identity}": {200, 201, 422},
    "PATCH /api/v1/people/{identity}": {200, 404, 422},
    "DELETE /api/v1/people/{identity}": {204, 404},
    "POST /api/v1/verify": {200, 404, 422},
    "POST /api/v1/recognise": {200, 422},
    "POST /api/v1/encode": {200, 422},
    "GET /healthz": {200},
    "GET /metrics": {200},
}


@pytest.fixture(scope="module")
def described(toy):
    """The description as schemathesis reads it. (It is imported here because it takes a second.)"""
    import schemathesis

    return schemathesis.openapi.from_asgi("/api/openapi.json", toy)


@pytest.fixture(scope="module")
def key(toy) -> str:
    """A key that may do everything."""
    return toy.state.keys.make("contract", write=True)


def fitting(operation):
    """Requests that fit the description, some of them with our pictures and people in them."""
    from hypothesis import strategies as st
    from schemathesis.generation.feedback import NO_FEEDBACK

    def filled(case, picture: bytes, name: str | None):
        form = case.body if isinstance(case.body, dict) else {}
        if "photo" in form:
            form["photo"] = picture
        if name and "identity" in case.path_parameters:
            case.path_parameters["identity"] = name
        elif name and "identity" in form:
            form["identity"] = name
        return case

    made = operation.as_strategy(feedback=NO_FEEDBACK)
    return st.builds(filled, made, st.sampled_from(PICTURES), st.sampled_from([*PEOPLE, "someone new", None]))


def unfitting(operation):
    """Requests that do not fit it."""
    from schemathesis import GenerationMode
    from schemathesis.generation.feedback import NO_FEEDBACK

    return operation.as_strategy(GenerationMode.NEGATIVE, feedback=NO_FEEDBACK)


def test_paths_are_all_asked(described):
    assert {result.ok().label for result in described.get_all_operations()} == set(PATHS)


@pytest.mark.parametrize("label", PATHS)
def test_every_answer_is_one_that_the_description_announces(toy, described, key, label):
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance  # no schema says what a face is

    method, path = label.split()
    operation, met = described[path][method], set()
    few = settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def ask(case) -> None:
        toy.state.service.people.clear()
        toy.state.service.people.update(PEOPLE)
        headers = {"Authorization": f"Bearer {key}"}
        met.add(case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance]).status_code)

    few(given(fitting(operation))(ask))()
    if label != "GET /healthz":  # of which nothing can be wrong
        few(given(unfitting(operation))(ask))()
    assert PATHS[label] <= met
