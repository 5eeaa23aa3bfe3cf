"""A small benchmark that runs once for all tests of this folder, in their own process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from surgsam2.benchmark.case import Case
from surgsam2.benchmark.measurement import measure
from surgsam2.benchmark.runner import Plan, run_plan

SIZE = (256, 192)
"""Size of the clip. In a smaller one, a pixel at the edge would be 3 % of a mask."""


@pytest.fixture(scope="session")
def a_record(
    tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path, small_config: Path
) -> dict[str, Any]:
    """Record of the small model with one and two objects, compared with all baselines."""
    plan = Plan(
        configs=(str(small_config),),
        checkpoint=str(demo_checkpoint),
        objects=(1, 2),
        baselines={"sam2": (2,), "sam2-unpruned": (2,), "per-object": (2,), "sam2-float32": (2,)},
        frames=11,
        repeats=1,
        live_frames=3,
        lengths=(10,),
        size=SIZE,
        device="cpu",
        threads=1,
    )

    def measure_here(case: Case, stages: bool, masks: Path | None) -> dict[str, Any]:
        folder = masks or tmp_path_factory.mktemp("run") / "out"
        return json.loads(json.dumps(measure(case, folder, stages=stages)))

    return run_plan(plan, tmp_path_factory.mktemp("benchmark"), measure=measure_here)
