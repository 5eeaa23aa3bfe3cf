"""One measurement in a process of its own: a case as JSON on standard input, figures out.

A process per measurement, so that its peak memory is its own and nothing that one
subject warmed up or left behind serves another.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from surgsam2.benchmark.arithmetic import matmul_rates
from surgsam2.benchmark.case import COOL_DOWN, WARM_UP, Case
from surgsam2.benchmark.clip import make_prompts
from surgsam2.benchmark.stages import stage_times
from surgsam2.benchmark.subjects import RUNS
from surgsam2.errors import SurgSAM2Error
from surgsam2.evaluation.memory import ProcessPeak, gpu_peak_mb, reset_gpu_peak
from surgsam2.model.build import load_model
from surgsam2.video import open_video


def measure(case: Case, folder: Path, *, stages: bool) -> dict[str, Any]:
    """Figures of one run; label PNGs go to `folder`.

    stages: time each stage by itself instead of the run from end to end.
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


def main() -> int:
    """Read the case, print the figures; a refusal is one line and exit code 2."""
    request = json.load(sys.stdin)
    keep = request.pop("masks")
    stages = request.pop("stages")
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(
                Case(**request), Path(keep) if keep else Path(folder) / "out", stages=stages
            )
    except SurgSAM2Error as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    json.dump(figures, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
