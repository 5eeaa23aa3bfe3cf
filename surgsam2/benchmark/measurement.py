"""Measurement of one case in a process of its own.

Each measurement has its own process so that its peak memory is its own and no subject
profits from what another one loaded. `measure_in_process` starts this module as a program,
which reads the case as JSON from standard input and writes the figures to standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from surgsam2.benchmark.arithmetic import matmul_rates
from surgsam2.benchmark.case import COOL_DOWN, WARM_UP, Case
from surgsam2.benchmark.clip import make_prompts
from surgsam2.benchmark.stages import stage_times
from surgsam2.benchmark.subjects import RUNS
from surgsam2.errors import DeviceError, SurgSAM2Error
from surgsam2.evaluation.runs.cost import ProcessPeak, gpu_peak_mb, reset_gpu_peak
from surgsam2.model.build import load_model
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.temporary import TemporaryFolder
from surgsam2.video import open_video


def measure(case: Case, folder: Path, *, stages: bool) -> dict[str, Any]:
    """Run a case and return its figures.

    Args:
        case: The case.
        folder: Folder that receives the label PNGs.
        stages: Time each stage by itself instead of the run from end to end.
    """
    if case.threads:
        torch.set_num_threads(case.threads)
    model = load_model(
        case.checkpoint or case.config,
        config=case.config,
        device=case.device,
        dtype=case.dtype,
        pruning=case.pruning,
    )
    with open_video(case.video) as video:
        prompts = make_prompts(case.objects, (video.width, video.height))
        if stages:
            times = stage_times(case.subject, model, video, prompts, folder)
            return {
                "stages_ms": times.milliseconds,
                "flops": times.flops,
                "threads": torch.get_num_threads(),
                "device": str(model.device),
                "dtype": str(model.dtype).removeprefix("torch."),
            }
        memory = ProcessPeak()
        reset_gpu_peak(model)
        clock = RUNS[case.subject](model, video, prompts, folder)
        wall, cpu = clock.milliseconds(WARM_UP, COOL_DOWN)
        return {
            "wall_ms": wall,
            "cpu_ms": cpu,
            "peak_mb": memory.peak_mb(),
            "gpu_peak_mb": gpu_peak_mb(model),
            "rates": matmul_rates(model.device, model.dtype),
        }


def measure_in_process(case: Case, stages: bool, masks: Path | None) -> dict[str, Any]:
    """Call `measure` in a new process.

    Args:
        case: The case.
        stages: Time each stage by itself instead of the run from end to end.
        masks: Folder that keeps the label PNGs; None deletes them.

    Raises:
        DeviceError: The process failed. The message ends with the process's own error.
    """
    request = {**case.to_json(), "stages": stages, "masks": None if masks is None else str(masks)}
    done = subprocess.run(
        [sys.executable, "-m", "surgsam2.benchmark.measurement"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise DeviceError(
            f"{case.subject} with {case.config}, {case.objects} objects, could not be measured: "
            f"{lines[-1]}"
        )
    figures: dict[str, Any] = parse_json(done.stdout)
    return figures


def main() -> int:
    """Read the case and print the figures; after an error print one line and return 2."""
    request = parse_json(sys.stdin.read())
    keep = request.pop("masks")
    stages = request.pop("stages")
    try:
        with TemporaryFolder() as folder:
            figures = measure(
                Case(**request), Path(keep) if keep else folder / "out", stages=stages
            )
    except SurgSAM2Error as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    json.dump(figures, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
