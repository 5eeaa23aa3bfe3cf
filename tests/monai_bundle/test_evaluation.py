"""`evaluate.json` runs the evaluation on a bundle's own model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import monai.bundle
import pytest

from surgsam2.errors import InputError
from surgsam2.monai_bundle.evaluation import BundleEvaluation
from tests.evaluation.conftest import write_vos_sequence


def test_evaluation_runs_under_monai(
    a_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_vos_sequence(tmp_path / "dataset", "clip")
    monai.bundle.run(
        config_file=str(a_bundle / "configs" / "evaluate.json"),
        bundle_root=str(a_bundle),
        logging_file=False,
        dataset_dir="dataset",
        output_dir="out",
        prompts=("mask",),
        baselines="none",
        device="cpu",
    )
    (run,) = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert run["prompts"] == "mask"
    assert run["image_size"] == 128
    assert (tmp_path / "out" / "report.html").is_file()


def test_several_processes_share_the_runs(a_bundle: Path, tmp_path: Path) -> None:
    """The report of two processes has the runs of one, in the same order."""
    write_vos_sequence(tmp_path / "dataset", "clip", frames=3)
    names = ("evaluate.json", "multi_gpu_evaluate.json")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         "-m", "monai.bundle", "run", "--config_file",
         str([str(a_bundle / "configs" / name) for name in names]),
         "--bundle_root", str(a_bundle), "--dataset_dir", "dataset", "--output_dir", "out",
         "--prompts", "mask,1pt", "--baselines", "copy", "--device", "cpu"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    BundleEvaluation(
        str(tmp_path / "dataset"), str(tmp_path / "alone"), prompts="mask,1pt", baselines="copy",
        model=str(a_bundle), device="cpu",
    ).run()  # fmt: skip
    shared, alone = (
        json.loads((tmp_path / name / "results.json").read_text())["runs"]
        for name in ("out", "alone")
    )
    for run in (*shared, *alone):
        del run["speed"]
    assert [run["prompts"] for run in shared] == ["mask", "1pt", None]
    assert shared == alone


@pytest.mark.parametrize("name", ["dataset_dir", "output_dir"])
def test_folders_are_needed(name: str) -> None:
    with pytest.raises(InputError, match=f"--{name}"):
        BundleEvaluation(**{"dataset_dir": "d", "output_dir": "o", name: ""}).run()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"seed": "x"}, "seed must be int, got 'x'"),
        ({"values": "x"}, "values must be one of objects, classes, got 'x'"),
    ],
)
def test_wrong_values_are_refused_by_name(option: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BundleEvaluation("d", "o", **option)
