"""The whole benchmark with small settings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from surgsam2.benchmark import runner
from surgsam2.benchmark.case import COOL_DOWN, STAGES, WARM_UP, Case
from surgsam2.benchmark.clip import write_clip
from surgsam2.benchmark.report import render_page, render_plots
from surgsam2.benchmark.runner import Plan, measure_in_process, run_plan
from surgsam2.errors import DeviceError, InputError
from tests.benchmark.conftest import SIZE


def test_every_case_has_its_figures(a_record: dict[str, Any]) -> None:
    runs = [(run["subject"], run["objects"]) for run in a_record["runs"]]
    assert runs == [
        ("surgsam2", 1),
        ("surgsam2", 2),
        ("sam2", 2),
        ("sam2-unpruned", 2),
        ("per-object", 2),
        ("sam2-float32", 2),
    ]
    for run in a_record["runs"]:
        assert run["frames"] == 11
        assert run["fps"] > 0
        assert 0 < run["p50_ms"] <= run["p95_ms"] <= run["p99_ms"]
        assert run["cpu_ms"] > 0
        assert min(run["rates"].values()) > 1e8
        assert math.isclose(run["fps"], 1000 / run["p50_ms"], rel_tol=0.9)


def test_stages_are_all_there(a_record: dict[str, Any]) -> None:
    stages = {(each["subject"], each["objects"]): each for each in a_record["stages"]}
    assert list(stages) == [("surgsam2", 1), ("surgsam2", 2), ("sam2", 2)]
    for each in stages.values():
        assert tuple(each["stages_ms"]) == STAGES
        assert all(each["stages_ms"][name] > 0 for name in STAGES)


def test_arithmetic_is_counted(a_record: dict[str, Any]) -> None:
    one, two, sam2 = (each["flops"] for each in a_record["stages"])
    assert one < two < 2 * one, "the image encoder's share is not repeated"
    assert two < 1.05 * sam2
    assert two > 0.5 * sam2


def test_arithmetic_left_out_counts_as_done_beside_sam2(a_record: dict[str, Any]) -> None:
    _, _, section = render_page(a_record, "performance").partition("arithmetic limit")
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in section.splitlines()]
    by_case = {(row[0], row[1]): row for row in rows if len(row) == 8}
    assert by_case["1 object", "surgsam2"][-1] == ""
    *_, by_one, by_another, counted = by_case["2 objects", "sam2"]
    assert counted in (by_one, by_another)
    *_, counted = by_case["2 objects", "surgsam2"]
    ours, theirs = (each["flops"] for each in a_record["stages"][1:])
    (run,) = (r for r in a_record["runs"] if (r["subject"], r["objects"]) == ("surgsam2", 2))
    best = max(run["rates"].values())
    assert counted == f"{100 * theirs / best / (run['cpu_ms'] / 1000):.0f} %"
    assert ours != theirs


def test_masks_are_compared(a_record: dict[str, Any]) -> None:
    (agreement,) = a_record["agreement"]
    assert agreement["subject"] == "sam2"
    assert agreement["masks"] > 0
    assert agreement["lowest_iou"] > 0.9
    assert agreement["mean_iou"] > 0.99


def test_waiting_and_memory(a_record: dict[str, Any]) -> None:
    assert [each["frames"] for each in a_record["lengths"]] == [10]
    assert a_record["lengths"][0]["config"] == "lite"
    assert a_record["first_mask_seconds"] > 0
    live = a_record["live"]
    assert 0 < live["p50_ms"] <= live["p99_ms"]
    assert live["threads"] == 1


def test_the_machine_is_described_without_paths(a_record: dict[str, Any], tmp_path: Path) -> None:
    assert a_record["machine"]["processor"]
    assert a_record["machine"]["threads"] == 1
    assert a_record["machine"]["device"] == "cpu"
    assert a_record["weights"] == "strong.pt"
    assert str(tmp_path.parent) not in str({**a_record, "runs": []})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objects": ()}, "objects must not be empty"),
        ({"objects": (17,), "baselines": {}}, "objects must be 1 to 16, got 17"),
        ({"frames": WARM_UP + COOL_DOWN}, f"frames must be more than {WARM_UP + COOL_DOWN}:"),
        ({"lengths": (3,)}, "got 3"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"size": (33, 64)}, "size must be even"),
        ({"threads": -1}, "threads must be 0"),
        (
            {"baselines": {"other": (1,)}},
            "baseline must be one of sam2, sam2-unpruned, per-object, sam2-float32, "
            "surgsam2-float32, got 'other'",
        ),
        ({"baselines": {"sam2": (1, 3)}}, "baseline sam2 is to run with 3 objects"),
        ({"configs": ("sam3",)}, "unknown config 'sam3'"),
    ],
)
def test_refusals(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        run_plan(Plan(**given), tmp_path)
    assert not list(tmp_path.iterdir())


def test_float32_can_be_measured_beside_another_precision() -> None:
    baselines = {"sam2": (1,), "sam2-float32": (1,), "surgsam2-float32": (1,)}
    ((ours, *others),) = Plan(objects=(1,), baselines=baselines, dtype="bfloat16").cases("clip.mp4")
    assert [(case.subject, case.dtype) for case in (ours, *others)] == [
        ("surgsam2", "bfloat16"),
        ("sam2", "bfloat16"),
        ("sam2-float32", "float32"),
        ("surgsam2-float32", "float32"),
    ]


def test_a_process_measures_the_same_things(
    small_config: Path, demo_checkpoint: Path, tmp_path: Path
) -> None:
    write_clip(tmp_path / "clip.mp4", 11, SIZE)
    case = Case(
        subject="surgsam2",
        config=str(small_config),
        checkpoint=str(demo_checkpoint),
        pruning="off",
        objects=1,
        frames=11,
        video=str(tmp_path / "clip.mp4"),
        device="cpu",
        threads=1,
    )
    figures = measure_in_process(case, False, tmp_path / "out")
    assert len(figures["wall_ms"]) == len(figures["cpu_ms"]) == 11 - WARM_UP - COOL_DOWN
    assert min(figures["wall_ms"] + figures["cpu_ms"]) > 0
    assert len(list((tmp_path / "out" / "masks").glob("*.png"))) == 11


def test_what_a_process_cannot_do_is_said(tmp_path: Path) -> None:
    plan = Plan(
        configs=("demo",),
        checkpoint=str(tmp_path / "none.pt"),
        objects=(1,),
        baselines={},
        frames=11,
        size=(64, 64),
    )
    with pytest.raises(DeviceError, match=r"surgsam2 with demo, 1 objects.*none\.pt"):
        run_plan(plan, tmp_path)


def test_what_was_measured_is_kept_when_it_is_stopped(
    small_config: Path, demo_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "seconds_to_first_mask", lambda *_: 1.5)
    live = {"p50_ms": 1.0, "p99_ms": 2.0, "cpu_ms": 1.0, "frames": 3, "threads": 1, "load": None}
    monkeypatch.setattr(runner, "measure_live_in_process", lambda *_: live)
    plan = Plan(
        configs=(str(small_config),),
        checkpoint=str(demo_checkpoint),
        objects=(1, 2, 4),
        baselines={},
        frames=11,
        repeats=1,
        size=(64, 64),
    )

    def until_stopped(case: Case, stages: bool, masks: Path | None) -> dict[str, Any]:
        if case.objects == 4:
            raise KeyboardInterrupt
        return {
            "device": "cpu",
            "threads": 1,
            "dtype": "float32",
            "wall_ms": [1.0, 2.0],
            "cpu_ms": [1.0, 2.0],
            "peak_mb": 10.0,
            "gpu_peak_mb": None,
            "flops": 1e6,
            "rates": {"mm": 1e9},
            "stages_ms": dict.fromkeys(STAGES, 1.0),
        }

    kept: list[str] = []

    def keep(record: dict[str, Any]) -> None:
        render_plots(record)
        kept.append(render_page(record, "performance"))

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, tmp_path, measure=until_stopped, keep=keep)
    assert len(kept) == 2
    assert "| 1 object |" in kept[0]
    assert "| 2 objects |" not in kept[0]
    assert "| 2 objects |" in kept[1]
