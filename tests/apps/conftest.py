"""What the tests of both apps share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from facerec.learning.siamese import load_siamese


@pytest.fixture(scope="session")
def twins() -> tuple:
    """The shipped twins, and their threshold."""
    return load_siamese()


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Streamlit makes each page the module ``__main__``; a process that a later test spawns would run that page."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before
