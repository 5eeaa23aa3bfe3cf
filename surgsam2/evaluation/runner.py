"""Evaluate models on a dataset: prompts from the truth, track, score, time, compare.

One pass per model, prompt setting and sequence. A frame's masks are scored and
forgotten, so memory does not grow with the length of a video. Scoring happens
between frames, on all cores, and is not part of the measured time.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from surgsam2.errors import DatasetError, InputError
from surgsam2.evaluation.baselines import BASELINES
from surgsam2.evaluation.datasets import Truth, Values, open_truth
from surgsam2.evaluation.estimates import OracleGap
from surgsam2.evaluation.predictions import SizeMismatch, score_predictions
from surgsam2.evaluation.problems import Problems
from surgsam2.evaluation.prompting import POINTS, PROMPT_SETTINGS, PromptSetting, sample_points
from surgsam2.evaluation.protocols import COUNTING, Protocol, get_protocol, published_results
from surgsam2.evaluation.scores import (
    FrameScores,
    SequenceScores,
    cores,
    parallel_map,
    score_frame,
)
from surgsam2.evaluation.summary import (
    WORST_FRAMES,
    is_candidate,
    run_record,
    thumbnail,
    worst_moments,
    worst_record,
)
from surgsam2.evaluation.truth import Scan, TruthSequence, scan
from surgsam2.results import FrameResult
from surgsam2.version import __version__

if TYPE_CHECKING:
    from surgsam2.model.build import SurgSAM2Model
    from surgsam2.prompts import PromptSet
    from surgsam2.video import Video

WARM_UP = 5
"""Frames at the start of each sequence that do not count in the speed."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, frames done, frames in all."""


@dataclass(frozen=True)
class ModelSpec:
    """A model as `load_model` takes it."""

    model: str = "demo"
    config: str | None = None
    pruning: str = "capped"
    device: str = "auto"
    dtype: str = "auto"

    def load(self) -> SurgSAM2Model:
        """Load it. Raises what `load_model` raises."""
        from surgsam2.model.build import load_model

        return load_model(
            self.model,
            config=self.config,
            device=self.device,
            dtype=self.dtype,
            pruning=self.pruning,
        )

    def title(self, image_size: int) -> str:
        """A name for tables: model, input size, pruning."""
        efp = {"off": "EFP off", "capped": "EFP"}.get(self.pruning, f"EFP {self.pruning}")
        return f"{Path(self.model).stem}, {image_size}, {efp}"


@dataclass
class _Stopwatch:
    """Time per frame and the most memory seen."""

    milliseconds: list[float] = field(default_factory=list)
    _in_sequence: int = 0
    _early: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def new_sequence(self) -> None:
        self._in_sequence = 0

    def add(self, milliseconds: float) -> None:
        self._in_sequence += 1
        late = self._in_sequence > WARM_UP
        (self.milliseconds if late else self._early).append(milliseconds)
        self.peak_mb = max(self.peak_mb, _resident_mb())

    def record(self, memory_mb: float | None = None, memory_of: str = "process") -> dict[str, Any]:
        """FPS and times after the warm-up (over everything where all sequences are shorter)."""
        times = np.asarray(self.milliseconds or self._early or [np.nan])
        total = float(times.sum())
        known = np.isfinite(total) and total > 0
        return {
            "fps": 1000 * len(times) / total if known else None,
            "median_ms": float(np.median(times)) if known else None,
            "p95_ms": float(np.percentile(times, 95)) if known else None,
            "frames": len(times) if known else 0,
            "warm_up_frames": WARM_UP if self.milliseconds else 0,
            "peak_memory_mb": memory_mb if memory_mb is not None else self.peak_mb or None,
            "memory_of": memory_of,
        }


def evaluate(
    dataset: Path | str,
    *,
    protocol: str = "vos",
    split: str | None = None,
    sequences: list[str] | None = None,
    values: Values = "objects",
    prompts: Sequence[PromptSetting] = PROMPT_SETTINGS,
    models: Sequence[ModelSpec] = (ModelSpec(),),
    baselines: Sequence[str] = tuple(BASELINES),
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Track every sequence with every model and prompt setting; results for `write_report`.

    Args:
        dataset: folder in the layout of the protocol.
        protocol: ``vos``, ``endovis17`` or ``endovis18``.
        split: name of a split of the protocol; its default when None.
        sequences: names of sequences, instead of a split.
        values: whether the pixel values of label PNGs are objects or the protocol's classes.
        prompts: prompt settings, each a run of its own per model.
        models: what to run. 512 and 1024, or pruning on and off, are different specs.
        baselines: of ``copy`` and ``flow``.
        seed: of the points that are sampled from the truth.

    Raises `DatasetError`, `InputError`, and what loading a model raises.
    """
    dataset = Path(dataset)
    chosen = get_protocol(protocol)
    _check_baselines(baselines)
    problems = Problems()
    truth = open_truth(dataset, chosen, problems, split=split, only=sequences, values=values)
    scans = _scan_all(truth, problems, dataset)
    faults = problems.as_list()
    if len(models) > 1:
        for spec in models:
            spec.load()  # a wrong name is found now, not after hours
    runs = []
    device = None
    for spec in models:
        model = spec.load()
        device = str(model.device)
        for setting in prompts:
            runs.append(_run_model(spec, model, setting, scans, truth, seed, progress))
        del model
    runs += [_run_baseline(name, scans, truth, progress) for name in baselines]
    for run in runs:
        run["problems"] = faults + run["problems"]
    return _results(
        dataset,
        chosen,
        None if sequences else split or chosen.default_split,
        scans,
        runs,
        device=device,
        settings={
            "prompt settings": ", ".join(prompts),
            "seed of the points": seed,
            "sequences": ", ".join(each.sequence.name for each in scans),
        },
    )


def evaluate_predictions(
    predictions: Sequence[Path | str],
    ground_truth: Path | str,
    *,
    protocol: str = "vos",
    split: str | None = None,
    sequences: list[str] | None = None,
    values: Values = "objects",
    names: Sequence[str] = (),
    baselines: Sequence[str] = tuple(BASELINES),
    size_mismatch: SizeMismatch = "missing",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score folders of label PNGs side by side; results for `write_report`. No model needed.

    The optical-flow baseline is left out where the truth has no images.
    """
    ground_truth = Path(ground_truth)
    chosen = get_protocol(protocol)
    _check_baselines(baselines)
    problems = Problems()
    truth = open_truth(
        ground_truth,
        chosen,
        problems,
        split=split,
        only=sequences,
        values=values,
        labels_only=True,
    )
    scans = _scan_all(truth, problems, ground_truth)
    faults = problems.as_list()
    runs = []
    for i, folder in enumerate(map(Path, predictions)):
        name = names[i] if i < len(names) else folder.name or "predictions"
        runs.append(
            score_predictions(
                folder,
                scans,
                name=name,
                class_names=truth.class_names,
                size_mismatch=size_mismatch,
                progress=progress,
            )
        )
    with_images = all(each.sequence.open is not None for each in scans)
    for name in baselines:
        if name == "copy" or with_images:
            runs.append(_run_baseline(name, scans, truth, progress))
    for run in runs:
        run["problems"] = faults + run["problems"]
    return _results(
        ground_truth,
        chosen,
        None if sequences else split or chosen.default_split,
        scans,
        runs,
        settings={
            "predictions of another size": "counted as missing"
            if size_mismatch == "missing"
            else "resized by nearest neighbour",
            "sequences": ", ".join(each.sequence.name for each in scans),
        },
    )


def score_tracking(
    name: str,
    sequence: TruthSequence,
    results: Iterable[FrameResult],
    *,
    progress: Progress | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """The record of one tracked video with a truth, for `write_report`.

    results: what `segment_video` yields, ascending; scored as they come and not kept.
    sequence: its truth. `facts` (model, config, efp, prompts...) go into the record.
    """
    problems = Problems()
    each = scan(sequence, problems)
    watch, pictures = _Stopwatch(), _Pictures()

    def answers() -> Iterator[_Answer]:
        for result in results:
            watch.add(result.milliseconds)
            yield _Answer.of(result)

    with _opened(sequence) as video:
        scores = _score(each, answers(), video, pictures, name, progress)
    return run_record(
        name,
        [scores],
        kind="model",
        class_names={c: sequence.names.get(i, "") for i, c in sequence.classes.items()},
        speed=watch.record(),
        worst=pictures.worst([scores]),
        problems=problems.as_list(),
        **facts,
    )


def prompts_for(each: Scan, setting: PromptSetting, seed: int) -> PromptSet:
    """The prompts of a sequence in one of the paper's settings."""
    from surgsam2.prompts import PromptSet

    prompts = PromptSet()
    for object_id, frame in sorted(each.first_frames.items()):
        mask = _truth(each, frame) == object_id
        name = each.sequence.names.get(object_id)
        if setting == "mask":
            prompts.add(object_id=object_id, frame=frame, mask=mask, name=name)
        else:
            key = f"{each.sequence.name}/{object_id}"
            points = [list(p) for p in sample_points(mask, POINTS[setting], seed=seed, key=key)]
            prompts.add(object_id=object_id, frame=frame, points=points, name=name)
    return prompts


def _check_baselines(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise InputError(f"baselines are {', '.join(BASELINES)}, got {', '.join(unknown)}")


def _scan_all(truth: Truth, problems: Problems, folder: Path) -> list[Scan]:
    scans = [scan(sequence, problems) for sequence in truth.sequences]
    scans = [each for each in scans if each.first_frames]
    if not scans:
        raise DatasetError(f"no object in any annotated frame of {folder}")
    return scans


def _run_model(
    spec: ModelSpec,
    model: SurgSAM2Model,
    setting: PromptSetting,
    scans: Sequence[Scan],
    truth: Truth,
    seed: int,
    progress: Progress | None,
) -> dict[str, Any]:
    from surgsam2.tracking.segment import segment_video

    watch = _Stopwatch()
    oracle = OracleGap()
    scored, pictures = [], _Pictures()
    title = spec.title(model.image_size)
    _reset_gpu_memory(model)
    for each in scans:
        prompts = prompts_for(each, setting, seed)
        assert each.sequence.open is not None
        video = each.sequence.open()
        watch.new_sequence()
        with video:
            if setting != "mask":
                _choose_among_masks(model, video, each, prompts, oracle)

            def results(prompts: PromptSet = prompts, video: Video = video) -> Iterator[_Answer]:
                for result in segment_video(model, video, prompts, non_overlap=True):
                    watch.add(result.milliseconds)
                    yield _Answer.of(result)

            label = f"{title}, {setting}, {each.sequence.name}"
            scored.append(_score(each, results(), video, pictures, label, progress))
    gpu = _gpu_memory_mb(model)
    return run_record(
        title,
        scored,
        kind="model",
        class_names=truth.class_names,
        model=Path(spec.model).name,
        config=model.name,
        checkpoint_sha256=_sha256(model.checkpoint),
        image_size=model.image_size,
        efp=spec.pruning,
        prompts=setting,
        speed=watch.record(gpu, "GPU") if gpu is not None else watch.record(),
        oracle=oracle.result() if oracle.chosen else None,
        worst=pictures.worst(scored),
        problems=[],
    )


def _run_baseline(
    name: str, scans: Sequence[Scan], truth: Truth, progress: Progress | None
) -> dict[str, Any]:
    watch = _Stopwatch()
    scored, pictures = [], _Pictures()
    for each in scans:
        watch.new_sequence()
        label = f"{BASELINES[name].name}, {each.sequence.name}"
        with _opened(each.sequence if name == "flow" else None) as video:
            answers = _baseline_answers(name, each, video, watch)
            scored.append(_score(each, answers, video, pictures, label, progress))
    return run_record(
        BASELINES[name].name,
        scored,
        kind="baseline",
        class_names=truth.class_names,
        prompts=None,
        speed=watch.record() if name == "flow" else None,
        worst=[],
        problems=[],
    )


@contextmanager
def _opened(sequence: TruthSequence | None) -> Iterator[Video | None]:
    """The frames of a sequence; None where it has none."""
    if sequence is None or sequence.open is None:
        yield None
        return
    with sequence.open() as video:
        yield video


@dataclass(frozen=True)
class _Answer:
    """Masks and estimates of one frame, from a model or a baseline."""

    index: int
    masks: dict[int, np.ndarray]
    iou_scores: dict[int, float]
    presence: dict[int, float]

    @classmethod
    def of(cls, result: FrameResult) -> _Answer:
        ids = result.object_ids
        return cls(
            result.frame_index,
            dict(zip(ids, result.masks, strict=True)),
            dict(zip(ids, result.iou_scores.tolist(), strict=True)),
            dict(zip(ids, result.presence.tolist(), strict=True)),
        )


def _baseline_answers(
    name: str, each: Scan, video: Video | None, watch: _Stopwatch
) -> Iterator[_Answer]:
    tracker = BASELINES[name]()
    blank = np.zeros((1, 1, 3), np.uint8)  # copying does not look at the frame
    for index in range(len(each.sequence.frames)):
        starts = [i for i, first in each.first_frames.items() if first == index]
        truth = _truth(each, index) if starts else None
        new = {i: truth == i for i in starts} if truth is not None else {}
        frame = blank if video is None else video[index]
        began = time.perf_counter()
        masks = tracker.step(frame, new)
        watch.add(1000 * (time.perf_counter() - began))
        yield _Answer(index, masks, {}, {})


def _score(
    each: Scan,
    answers: Iterable[_Answer],
    video: Video | None,
    pictures: _Pictures,
    label: str,
    progress: Progress | None,
) -> SequenceScores:
    """Score answers in order; annotated frames without an answer are empty masks.

    A few frames wait until every core has one, so that scoring uses all of them and
    does not run beside the tracker.
    """
    scores = each.new_scores()
    expected = iter(each.annotated)
    waiting: list[_Answer] = []
    total = len(each.sequence.frames)

    def flush() -> None:
        for answer, frame_scores in zip(
            waiting, parallel_map(lambda a: _score_answer(each, a), waiting), strict=True
        ):
            scores.add(answer.index, frame_scores, answer.iou_scores, answer.presence)
            if video is not None:
                pictures.offer(each, scores, answer, video)
        if waiting and progress is not None:
            progress(label, waiting[-1].index + 1, total)
        waiting.clear()

    next_frame = next(expected, None)
    for answer in answers:
        while next_frame is not None and next_frame < answer.index:
            waiting.append(_Answer(next_frame, {}, {}, {}))
            next_frame = next(expected, None)
        if next_frame == answer.index:
            waiting.append(answer)
            next_frame = next(expected, None)
        if len(waiting) >= cores():
            flush()
    while next_frame is not None:
        waiting.append(_Answer(next_frame, {}, {}, {}))
        next_frame = next(expected, None)
    flush()
    if progress is not None:
        progress(label, total, total)
    return scores


def _score_answer(each: Scan, answer: _Answer) -> FrameScores:
    return score_frame(answer.masks, _truth(each, answer.index), each.classes)


class _Pictures:
    """A thumbnail of the worst frame of each object, made while its masks are at hand."""

    def __init__(self) -> None:
        self._lowest: dict[tuple[str, int], tuple[float, int, bytes]] = {}

    def offer(self, each: Scan, scores: SequenceScores, answer: _Answer, video: Video) -> None:
        truth = frame = None
        for object_id, item in scores.objects.items():
            key, j = (item.sequence, object_id), item.j[-1]
            if not is_candidate(item, len(item.j) - 1):
                continue
            if key in self._lowest and j >= self._lowest[key][0]:
                continue
            if truth is None or frame is None:
                truth, frame = _truth(each, answer.index), video[answer.index]
            mask = answer.masks.get(object_id, np.zeros(truth.shape, np.bool_))
            picture = thumbnail(frame, mask, truth == object_id)
            self._lowest[key] = (j, answer.index, picture)

    def worst(self, sequences: Sequence[SequenceScores]) -> list[dict[str, Any]]:
        """Records of the worst frames, with pictures where there are some."""
        records = []
        for scores, position in worst_moments(sequences)[:WORST_FRAMES]:
            found = self._lowest.get((scores.sequence, scores.object_id))
            same = found is not None and found[1] == scores.frames[position]
            records.append(worst_record(scores, position, found[2] if found and same else None))
        return records


def _choose_among_masks(
    model: SurgSAM2Model, video: Video, each: Scan, prompts: PromptSet, oracle: OracleGap
) -> None:
    """Where the network answers a click with several masks, compare its choice to the best."""
    from surgsam2.evaluation.multimask import all_masks

    for prompted in prompts:
        prompt = prompted.prompts[0]
        answer = all_masks(model, video[prompt.frame], prompt)
        if answer is not None:
            masks, scores = answer
            oracle.add(masks, scores, _truth(each, prompt.frame) == prompted.id)


def _truth(each: Scan, index: int) -> np.ndarray:
    file = each.sequence.read(index)
    assert file is not None
    assert file.labels is not None
    return file.labels


def _results(
    folder: Path,
    protocol: Protocol,
    split: str | None,
    scans: Sequence[Scan],
    runs: list[dict[str, Any]],
    *,
    settings: dict[str, Any],
    device: str | None = None,
) -> dict[str, Any]:
    name = folder.absolute().name
    return {
        "version": 1,
        "title": f"Evaluation on {name}",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "protocol": {
            "name": protocol.name,
            "title": protocol.title + (f", split {split}" if split else ""),
            "split": split,
            "counting": list(COUNTING),
        },
        "dataset": {
            "name": name,
            "sequences": len(scans),
            "objects": sum(len(each.first_frames) for each in scans),
            "frames": sum(len(each.annotated) for each in scans),
        },
        "settings": settings,
        "environment": _environment(device),
        "runs": runs,
        "published": published_results(protocol.name, split),
    }


def _environment(device: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "surgsam2": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
    }
    if device is not None:
        import torch

        facts["torch"] = torch.__version__
        facts["device"] = device
        if device.startswith("cuda"):
            facts["device"] += f" ({torch.cuda.get_device_name(device)})"
    return facts


def _resident_mb() -> float:
    """Memory of this process now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return _highest_resident_mb()
    import resource

    return pages * resource.getpagesize() / 2**20


def _highest_resident_mb() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (2**20 if platform.system() == "Darwin" else 2**10)


def _reset_gpu_memory(model: SurgSAM2Model) -> None:
    if model.device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(model.device)


def _gpu_memory_mb(model: SurgSAM2Model) -> float | None:
    if model.device.type != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated(model.device) / 2**20


def _sha256(path: Path | None) -> str | None:
    if path is None:
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


__all__ = ["ModelSpec", "evaluate", "evaluate_predictions", "prompts_for", "score_tracking"]
