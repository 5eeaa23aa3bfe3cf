"""Peak memory of a run."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from surgsam2.evaluation.runs import cost
from surgsam2.evaluation.runs.cost import Stopwatch


@pytest.fixture
def where_the_peak_is_known():
    if cost.ProcessPeak().peak_mb() is None:
        pytest.skip("this system does not tell a process its peak")


def test_a_peak_between_two_frames_counts_in_its_run_only(where_the_peak_is_known):
    gc.collect()  # Garbage of other tests must not be freed during the measurement.
    first = cost.ProcessPeak()
    gone = np.ones(256 * 2**20, np.uint8)
    del gone
    peak, growth = first.peak_mb(), first.growth_mb()
    assert peak is not None
    assert growth is not None
    assert growth > 200
    second = cost.ProcessPeak().peak_mb()
    assert second is not None
    assert second < peak - 200


def test_nothing_is_claimed_where_no_peak_can_be_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "CLEAR_REFS", tmp_path)
    record = Stopwatch().record()
    assert record["peak_memory_mb"] is record["memory_growth_mb"] is record["memory_of"] is None
    assert Stopwatch().record(gpu_mb=5.0)["memory_of"] == "GPU"
