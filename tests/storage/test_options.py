"""Options describe themselves, check their values and become plain data."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from surgsam2.errors import InputError
from surgsam2.storage.options import Options, option


@dataclass(frozen=True, kw_only=True)
class Inner(Options):
    """A group of two options."""

    area: int = option(0, "largest area", minimum=0, metavar="AREA")
    way: str = option("up", "where to go", choices=("up", "down"))


@dataclass(frozen=True, kw_only=True)
class Outer(Options):
    """A group that holds another one."""

    inner: Inner = Inner()
    rate: float | None = option(None, "rate", minimum=0, maximum=5)
    quiet: bool = option(False, "say nothing")


def test_an_inner_group_is_described_and_given_by_its_own_names() -> None:
    assert [described.name for described in Outer.described()] == ["area", "way", "rate", "quiet"]
    made = Outer.from_mapping({"area": 3, "rate": 2.5})
    assert made == Outer(inner=Inner(area=3), rate=2.5)
    assert Outer.from_mapping(json.loads(json.dumps(made.as_mapping()))) == made
    with pytest.raises(InputError, match="area must be a whole number of 0 or more, got -1"):
        Outer.from_mapping({"area": -1})
    with pytest.raises(InputError, match="unknown setting 'aria'"):
        Outer.from_mapping({"aria": 1})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"area": 1.5}, "area must be a whole number of 0 or more, got 1.5"),
        ({"area": True}, "area must be a whole number of 0 or more, got True"),
        ({"way": "left"}, "way must be one of up, down, got 'left'"),
    ],
)
def test_values_are_checked(values: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        Inner(**values)


def test_numbers_of_any_kind_are_taken() -> None:
    assert Inner(area=np.int64(8)).area == 8  # type: ignore[arg-type]
    assert Outer(rate=2).rate == 2
    with pytest.raises(InputError, match="rate must be a number from 0 to 5, got 6"):
        Outer(rate=6)
