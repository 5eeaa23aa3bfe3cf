"""The check of a GPU machine, with steps that need no GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from surgsam2.benchmark import gpu_check
from surgsam2.benchmark.gpu_check import LIVE, RECORD, STEPS, Step, measure_live, run_steps


def test_steps_are_recorded_whatever_becomes_of_them(tmp_path: Path) -> None:
    steps = (
        Step("figures", 60, ("-c", "print('text'); print('{{\"p50_ms\": 2}}')")),
        Step("fails", 60, ("-c", "import sys; sys.exit('no such thing')")),
        Step("hangs", 1, ("-c", "import time; time.sleep(60)")),
        Step("text", 60, ("-c", "print('on {device} into {output}')")),
    )
    record = run_steps(steps, tmp_path / "out", "cpu")
    done, failed, hung, text = record["steps"]
    assert (done["status"], done["figures"]) == ("done", {"p50_ms": 2})
    assert failed["status"] == "failed"
    assert "no such thing" in failed["output"]
    assert hung["status"] == "too long"
    assert hung["took"] < 30
    assert text["output"].strip() == f"on cpu into {tmp_path / 'out'}"
    assert json.loads((tmp_path / "out" / RECORD).read_text())["steps"][1]["status"] == "failed"


def test_the_limits_add_up_to_six_minutes() -> None:
    assert sum(step.seconds for step in STEPS) <= 360
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    assert all(any(name.startswith(subject) for name in names) for subject in LIVE)


@pytest.mark.parametrize("subject", ["surgsam2", "sam2"])
def test_a_live_measurement(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gpu_check._CONFIG, 512, "demo")
    figures = measure_live(subject, "cpu", 512, objects=1, frames=3)
    assert figures["frames"] == 2
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["gpu_mb"] is None


def test_a_machine_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu-check"])
    assert gpu_check.main() == 2
    assert "PyTorch finds no CUDA device" in capsys.readouterr().err
