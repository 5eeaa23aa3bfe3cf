"""Every input of the corpus, and random changes of it, is taken or refused in our own words."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.doors import DOORS, MRML, Door
from tests.reliability.mutations import damage


@pytest.fixture(params=DOORS, ids=lambda door: door.name)
def door(request: pytest.FixtureRequest) -> Door:
    if request.param.name in MRML:
        pytest.importorskip("slicer", reason="3D Slicer's libraries are not installed")
    found: Door = request.param
    return found


def test_the_corpus(door: Door, tmp_path: Path) -> None:
    taken = 0
    for number, data in enumerate(door.corpus):
        began = time.process_time()
        taken += door.accepts(data, tmp_path / f"{number}")
        assert time.process_time() - began < 5
    assert taken, "none is valid; run: python -m tests.fuzz.corpus_of_valid_inputs"


def test_changes_of_the_corpus(door: Door, tmp_path: Path) -> None:
    random = Random(28)
    for number in range(60):
        data, other = random.choice(door.corpus), random.choice(door.corpus)
        door.accepts(damage(data, random, other), tmp_path / f"{number}")
