"""Every parser, with input made to break it: it takes it or refuses it in our own words."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reliability.targets import TARGETS, Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_taken_or_refused(target: Target, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target.try_one(Random(seed), Path(folder))
