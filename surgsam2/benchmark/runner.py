"""The whole benchmark: every case with every subject, as one record.

The subjects of a case take turns, so that other work on the machine and its changing
clock slow all of them equally. Ratios within one benchmark are therefore reliable where
single times are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from surgsam2.benchmark.agreement import compare_masks
from surgsam2.benchmark.case import BASELINES, COOL_DOWN, OURS, WARM_UP, Case
from surgsam2.benchmark.clip import write_clip
from surgsam2.benchmark.first_mask import seconds_to_first_mask
from surgsam2.benchmark.live import measure_live_in_process
from surgsam2.benchmark.measurement import measure_in_process
from surgsam2.benchmark.report import Record
from surgsam2.errors import InputError
from surgsam2.evaluation.environment import environment, processor_name
from surgsam2.model.builder import build_network
from surgsam2.model.configs import Config, load_config
from surgsam2.model.network import SurgSAM2Network

Progress = Callable[[str], None]
"""Called with a description of what is measured next."""
Measure = Callable[[Case, bool, Path | None], Record]
"""Called like `measure_in_process`: with a case, whether to time stages, and a folder for masks."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of a benchmark.

    Raises:
        InputError: A list is empty, or a number is out of range.
    """

    configs: Sequence[str] = ("surgsam2-hiera-small-512",)
    checkpoint: str | None = None
    """Weights for every config; None takes untrained weights, which are as fast."""
    prunings: Sequence[str] = ("capped",)
    objects: Sequence[int] = (1, 2, 4, 8, 16)
    baselines: Mapping[str, Sequence[int]] = field(
        default_factory=lambda: {
            "sam2": (1, 4, 8),
            "sam2-unpruned": (1, 4, 8),
            "per-object": (4,),
        }
    )
    """Baseline -> numbers of objects it runs with; baselines take long with many objects."""
    frames: int = 24
    repeats: int = 3
    live_frames: int = 100
    """Number of frames of the live tracker that count, so that p99 is the slowest but one."""
    lengths: Sequence[int] = ()
    """Lengths in frames of the clips on which the built-in model's memory is measured."""
    size: tuple[int, int] = (1280, 720)
    """Width and height of the clip in pixels."""
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        for name in ("configs", "prunings", "objects"):
            if not getattr(self, name):
                raise InputError(f"{name} must not be empty")
        if self.repeats < 1:
            raise InputError(f"repeats must be at least 1, got {self.repeats}")
        unknown = [name for name in self.baselines if name not in BASELINES]
        if unknown:
            raise InputError(f"baseline must be one of {', '.join(BASELINES)}, got {unknown[0]!r}")
        for name, numbers in self.baselines.items():
            if missing := set(numbers) - set(self.objects):
                raise InputError(
                    f"baseline {name} is to run with {min(missing)} objects, which the engine does "
                    f"not; add it to objects ({', '.join(map(str, self.objects))})"
                )
        for side in self.size:
            if side < 32 or side % 2:
                raise InputError(f"size must be even and at least 32x32 pixels, got {self.size}")

    def cases(self, video: str) -> Iterator[list[Case]]:
        """Yield the cases that take turns, the engine first and then its baselines."""
        for config, pruning, objects in product(self.configs, self.prunings, self.objects):
            ours = self._case(config, video, self.frames, pruning, objects)
            others = [name for name, numbers in self.baselines.items() if objects in numbers]
            yield [ours, *(replace(ours, subject=name, dtype=self._dtype(name)) for name in others)]

    def length_cases(self, videos: dict[int, str]) -> Iterator[Case]:
        """Yield the cases of the engine alone on clips of different lengths."""
        for length in self.lengths:
            case = self._case("lite", videos[length], length, self.prunings[0], 1)
            yield replace(case, checkpoint="demo")

    def _dtype(self, baseline: str) -> str:
        return "float32" if baseline.endswith("-float32") else self.dtype

    def _case(self, config: str, video: str, frames: int, pruning: str, objects: int) -> Case:
        return Case(
            subject=OURS,
            config=config,
            checkpoint=self.checkpoint,
            pruning=pruning,
            objects=objects,
            frames=frames,
            video=video,
            device=self.device,
            dtype=self.dtype,
            threads=self.threads,
        )


def run_plan(
    plan: Plan,
    folder: Path,
    progress: Progress = lambda text: None,
    measure: Measure | None = None,
    keep: Callable[[Record], object] = lambda record: None,
) -> Record:
    """Carry out a plan and return its record.

    Args:
        plan: The settings.
        folder: Existing folder for clips, untrained weights and masks.
        progress: Called before every measurement.
        measure: Measures a case; None measures each in a process of its own.
        keep: Called after every case with the record of what is measured so far, since a
            plan can take hours.

    Raises:
        InputError: A name or a number of the plan is unknown or out of range.
        CheckpointError: The weights cannot be read.
        DeviceError: A measurement failed.
    """
    clip = folder / "clip.mp4"
    videos = {length: str(folder / f"clip-{length}.mp4") for length in plan.lengths}
    measure = measure or measure_in_process
    groups = list(plan.cases(str(clip)))  # Making the cases checks every number.
    lengths = list(plan.length_cases(videos))
    configs = {name: load_config(name) for name in plan.configs}
    write_clip(clip, plan.frames, plan.size)
    weights = {}
    if plan.checkpoint is None:
        for number, (name, config) in enumerate(configs.items()):
            weights[name] = str(_untrained(config, name, folder / f"untrained-{number}.pt"))

    def measured(case: Case, *, stages: bool = False, masks: Path | None = None) -> Record:
        progress(f"{case.subject}, {case.config}, {case.objects} objects, {case.frames} frames")
        ready = replace(case, checkpoint=case.checkpoint or weights[case.config])
        return measure(ready, stages, masks)

    progress("first mask of surgsam2 segment")
    first = seconds_to_first_mask(clip, folder / "first", plan.device)
    progress("live tracker with the built-in model")
    live = measure_live_in_process(clip, plan.device, plan.dtype, plan.threads, plan.live_frames)
    runs: list[Record] = []
    stages: list[Record] = []
    agreement: list[Record] = []
    growth: list[Record] = []

    def record() -> Record:
        return {
            "kind": "surgsam2 benchmark",
            "machine": {
                **environment(stages[0]["device"]),
                "processor": processor_name(),
                "threads": stages[0]["threads"],
            },
            "dtype": stages[0]["dtype"],
            "weights": "untrained" if plan.checkpoint is None else Path(plan.checkpoint).name,
            "size": list(plan.size),
            "frames": plan.frames,
            "warm_up_frames": WARM_UP,
            "cool_down_frames": COOL_DOWN,
            "repeats": plan.repeats,
            "runs": runs,
            "stages": stages,
            "agreement": agreement,
            "lengths": growth,
            "first_mask_seconds": first,
            "live": live,
        }

    for group in groups:
        runs += _take_turns(group, plan.repeats, measured)
        in_stages = [case for case in group if case.subject in (OURS, "sam2")]
        masks = [folder / f"masks-{case.subject}" for case in in_stages]
        for case, kept in zip(in_stages, masks, strict=True):
            stages.append({**_facts(case), **measured(case, stages=True, masks=kept)})
        if len(in_stages) > 1:
            compared = compare_masks(*(kept / "masks" for kept in masks))
            agreement.append({**_facts(in_stages[1]), **compared})
        keep(record())
    for case in lengths:
        write_clip(Path(case.video), case.frames, plan.size)
        growth.append({**_facts(case), **_summary([measured(case)])})
        Path(case.video).unlink()
        keep(record())
    return record()


def _take_turns(
    group: Sequence[Case], repeats: int, measured: Callable[[Case], Record]
) -> list[Record]:
    taken: list[list[Record]] = [[] for _ in group]
    for _ in range(repeats):
        for case, results in zip(group, taken, strict=True):
            results.append(measured(case))
    return [
        {**_facts(case), **_summary(results)} for case, results in zip(group, taken, strict=True)
    ]


def _facts(case: Case) -> Record:
    keys = ("subject", "pruning", "objects", "frames")
    return {**{key: getattr(case, key) for key in keys}, "config": Path(case.config).name}


def _summary(results: Sequence[Record]) -> Record:
    """Summarise repetitions: percentiles over all frames, the highest memory, other medians."""
    wall = np.concatenate([result["wall_ms"] for result in results])
    p50, p95, p99 = np.percentile(wall, (50, 95, 99))
    return {
        "fps": float(np.median([1000 / np.mean(result["wall_ms"]) for result in results])),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
        "cpu_ms": float(np.median([np.mean(result["cpu_ms"]) for result in results])),
        "peak_mb": _most(result["peak_mb"] for result in results),
        "gpu_peak_mb": _most(result["gpu_peak_mb"] for result in results),
        "rates": {
            kind: float(np.median([result["rates"][kind] for result in results]))
            for kind in sorted(results[0]["rates"])
        },
    }


def _most(values: Iterator[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _untrained(config: Config, name: str, path: Path) -> Path:
    """Write untrained weights of a configuration."""
    torch.save({"model": build_network(config, name, SurgSAM2Network).state_dict()}, path)
    return path
