"""The load of the API: errors and wrong answers are counted, and what is asked is what the page says."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx2

from tools.measure import load_api
from tools.measure.load_api import Load, Question

ANSWERS = {
    "/api/v1/recognise": (200, {"faces": [{"identity": "lena", "distance": 0.4}]}),
    "/api/v1/verify": (200, {"is_same": True, "distance": 0.4}),
    "/api/v1/people": (503, {}),
}


def answered(request: httpx2.Request) -> httpx2.Response:
    """An API with three answers, and no connection for any other question."""
    if request.url.path not in ANSWERS:
        raise httpx2.ConnectError("no one there")
    status, body = ANSWERS[request.url.path]
    return httpx2.Response(status, json=body)


def test_errors_and_wrong_answers_are_counted():
    asked = [
        (Question("recognise", "POST", "/recognise"), ["lena"]),
        (Question("recognise", "POST", "/recognise"), ["otto"]),
        (Question("verify", "POST", "/verify"), True),
        (Question("people", "GET", "/people"), {"total": 1}),
        (Question("people", "GET", "/elsewhere"), {"total": 1}),
    ]

    async def ask() -> Load:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answered), base_url="http://here") as client:
            load = Load(client)
            await load.ask_on(iter(asked), float("inf"))
        return load

    load = asyncio.run(ask())
    assert load.wrong == 1 and load.errors == {"503": 1, "ConnectError": 1}
    counts = {route: row["requests"] for route, row in load.routes().items()}
    assert counts == {"recognise": 2, "verify": 1, "people": 1}


def test_half_of_the_requests_recognise():
    asked = Counter(question.route for question in load_api.questions())
    assert asked["recognise"] == 2 * asked["verify"] == 2 * asked["people"] > 20
