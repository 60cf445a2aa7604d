"""Pins are read from pyproject.toml, and a requirement without a pin is refused."""

import pytest

from tools.upkeep.check_pins import EXCEPTIONS, read_pins

PROJECT = """
[project]
name = "my-course"
dependencies = ["numpy~=2.4.6"]
[project.optional-dependencies]
apps = ["flask~=3.1.3; sys_platform == 'linux'"]
dev = ["My_Course[apps]", {last}]
"""


def test_every_requirement_of_the_project_is_pinned():
    pins = read_pins()
    assert {"", "apps", "scale", "book", "dev"} == {pin.extra for pin in pins}
    assert {pin.name for pin in pins} >= {"tensorflow", "keras", "streamlit", "pytest", *EXCEPTIONS}
    assert len({pin.name for pin in pins}) == len(pins)


def test_pins_of_a_project_and_its_extras_are_read_without_the_project_itself(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(PROJECT.replace("{last}", '"pytest~=9.2"'), encoding="utf-8")
    found = [(pin.name, pin.extra) for pin in read_pins(path)]
    assert found == [("numpy", ""), ("flask", "apps"), ("pytest", "dev")]


@pytest.mark.parametrize("unpinned", ["pytest", "pytest>=9", "pytest~=9"])
def test_requirement_without_a_pin_is_refused(unpinned, tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(PROJECT.replace("{last}", f'"{unpinned}"'), encoding="utf-8")
    with pytest.raises(ValueError, match=unpinned):
        read_pins(path)
