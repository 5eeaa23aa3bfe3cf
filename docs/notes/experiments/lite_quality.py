"""How well does the built-in model segment? All the figures that its weights are chosen by.

    python docs/notes/experiments/lite_quality.py --real FOLDER [--model FILE] [--parts clip,seq4]

FOLDER holds `larynx`, the four sequences in VOS layout, and `cholecystectomy_10s.mp4`, as for the
recipe `lite`. The parts are

- `clip`: the gallbladder in the first frames of the video, from its mask, a box, and a box with
  three clicks. The truth is the mask drawn by hand below, carried by optical flow; where the flow
  is not the same forwards and backwards, pixels do not count.
- `seq4`, `seq3`, `seq1`: the objects of the first frame of a sequence, tracked from their masks.
- `single`: single frames of `seq4` and `seq3` and generated ones, from a box, five points and one.
- `generated`: eight generated clips that nothing is trained on, from masks, five points and one.
- `sparse`: the same of eight others, of which every twelfth frame is shown, about two a second.
- `corrections`: masks of one point on single frames with a J of 0.2 to 0.92, and one to three
  clicks, each in the middle of the largest error.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

import surgsam2
from surgsam2.data import Sequence, VOSDataset, generate_clip
from surgsam2.evaluation.metrics import region_similarity, score_mask
from surgsam2.evaluation.prompting import sample_points
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.single_frame import StillFrame
from surgsam2.tracking.tracker import Tracker
from surgsam2.training.validation import make_prompts
from surgsam2.video import open_video

PARTS = ("clip", "seq4", "seq3", "seq1", "single", "generated", "sparse", "corrections")
GALLBLADDER = (
    (592, 97), (630, 80), (672, 56), (680, 52), (700, 95), (718, 130), (740, 165), (757, 205),
    (772, 235), (790, 280), (805, 320), (818, 360), (829, 400), (838, 430), (848, 455), (853, 480),
    (858, 505), (862, 535), (866, 570), (872, 600), (885, 640), (872, 660), (825, 657), (800, 650),
    (775, 640), (760, 632), (740, 612), (720, 590), (700, 572), (685, 558), (670, 540), (655, 515),
    (645, 490), (632, 460), (622, 435), (612, 410), (603, 385), (598, 360), (592, 330), (587, 300),
    (583, 270), (582, 240), (583, 200), (584, 150), (586, 110),
)  # fmt: skip
"""Outline of the gallbladder's main lobe in the first frame, x and y in pixels of 1280x720."""
BOX = [580.0, 40.0, 890.0, 660.0]
CLICKS = [[700.0, 300.0, 1], [780.0, 480.0, 1], [900.0, 300.0, 0]]
OVERLAP = TrackingOptions(allow_overlap=True)
SMALLEST = 1 / 500
"""Share of a generated frame that an object covers when it is prompted."""


def main() -> None:
    """Measure the parts that are asked for and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--frames", type=int, default=125, help="frames of the real clip")
    parser.add_argument("--clips", type=int, default=8, help="number of generated clips")
    args = parser.parse_args()
    model = surgsam2.load_model(args.model)
    parts = args.parts.split(",")
    if "clip" in parts:
        measure_clip(model, args.real / "cholecystectomy_10s.mp4", args.frames)
    for name in ("seq4", "seq3", "seq1"):
        if name in parts:
            measure_sequence(model, next(iter(VOSDataset(args.real / "larynx", [name]))))
    if "single" in parts or "corrections" in parts:
        clips = [generate_clip(800_000 + k, 60, (512, 512)) for k in range(16)]
        stills = {"generated": [clip.frame(30) for clip in clips]}
        for name in ("seq4", "seq3"):
            (sequence,) = VOSDataset(args.real / "larynx", [name])
            stills[name] = [sequence.read(k) for k in sequence.annotated[::5]]
        for name, frames in stills.items():
            if "single" in parts:
                measure_single(model, name, frames)
            if "corrections" in parts:
                measure_corrections(model, name, frames)
    if "generated" in parts:
        measure_generated(model, "generated", range(800_000, 800_000 + args.clips), range(60))
    if "sparse" in parts:
        measure_generated(model, "sparse", range(810_000, 810_000 + args.clips), range(0, 180, 12))


def measure_clip(model: surgsam2.SurgSAM2Model, path: Path, count: int) -> None:
    """Track the gallbladder from three kinds of prompts."""
    with open_video(path) as video:
        frames = [frame for _, frame in video.frames(0, count)]
    first = np.zeros(frames[0].shape[:2], np.uint8)
    cv2.fillPoly(first, [np.array(GALLBLADDER, np.int32)], 1)
    truth = carried(frames, first)
    for kind, prompt in (
        ("mask", {"mask": first > 0}),
        ("box", {"box": BOX}),
        ("box and clicks", {"box": BOX, "points": CLICKS}),
    ):
        prompts = surgsam2.PromptSet()
        prompts.add(object_id=1, frame=0, **prompt)
        scores = []
        for result, (mask, certain) in zip(tracked(model, frames, prompts), truth, strict=True):
            scores.append(region_similarity(result.mask(1) & certain, mask & certain))
        print(  # noqa: T201
            f"clip, {kind}: first {scores[0]:.3f}, mean {np.mean(scores[1:]):.3f}, "
            f"lowest {min(scores[1:]):.3f}, last {scores[-1]:.3f}",
            flush=True,
        )


def carried(frames: list[np.ndarray], first: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Carry a mask of the first frame along; return (H, W) bool masks and where they are certain.

    The motion from the first frame is that of all pairs of neighbours, refined at each frame by
    the motion that is left to the carried first picture, so that errors do not add up.
    """
    height, width = first.shape
    grey = [cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), None, fx=0.5, fy=0.5) for f in frames]
    y, x = np.mgrid[: height // 2, : width // 2].astype(np.float32)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def flow(now: np.ndarray, before: np.ndarray) -> np.ndarray:
        return np.asarray(dis.calc(now, before, np.zeros((0, 0))))

    def fetched(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return cv2.remap(picture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    u, v = x.copy(), y.copy()
    result = [(first > 0, np.ones_like(first, bool))]
    for before, now in pairwise(grey):
        step = flow(now, before)
        u, v = (fetched(m, x + step[..., 0], y + step[..., 1]) for m in (u, v))
        rest = flow(now, fetched(grey[0], u, v))
        back = flow(fetched(grey[0], u, v), now)
        again = fetched(back, x + rest[..., 0], y + rest[..., 1])
        wrong = np.abs(again + rest).max(axis=-1) > 1
        rest[wrong] = 0
        u, v = (fetched(m, x + rest[..., 0], y + rest[..., 1]) for m in (u, v))
        mask = cv2.remap(first.astype(np.float32), *(
            cv2.resize(2 * m + 0.5, (width, height), interpolation=cv2.INTER_LINEAR) for m in (u, v)
        ), cv2.INTER_LINEAR)  # fmt: skip
        certain = cv2.resize((~wrong).astype(np.uint8), (width, height)) > 0
        result.append((mask > 0.5, certain))
    return result


def measure_sequence(model: surgsam2.SurgSAM2Model, sequence: Sequence) -> None:
    """Track the objects of the first frame from their masks, and print what `Scores` counts."""
    frames = [sequence.read_frame(k) for k in sequence.annotated]
    labels = [sequence.read_labels(k) for k in sequence.annotated]
    prompts = make_prompts(labels[0], 0, "mask")
    counts = {obj.id: Scores() for obj in prompts}
    for result, truth in zip(tracked(model, frames, prompts), labels, strict=True):
        for object_id in result.object_ids if result.frame_index else ():
            counts[object_id].add(result.mask(object_id), truth == object_id)
    print(f"{sequence.name}, mask: {Scores.together(counts.values())}", flush=True)  # noqa: T201
    for object_id, count in counts.items():
        print(f"    object {object_id}: {count}")  # noqa: T201


def measure_single(
    model: surgsam2.SurgSAM2Model, name: str, frames: Iterable[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Segment every object of single frames, and print the mean IoU for each kind of prompt."""
    scores: dict[str, list[float]] = {"box": [], "5pt": [], "1pt": []}
    for number, (frame, labels) in enumerate(frames):
        large = np.where(areas(labels) >= SMALLEST * labels.size, labels, 0)
        for kind, values in scores.items():
            prompts = make_prompts(large, 0, kind, key=f"{name}/{number}")
            for result in tracked(model, [frame], prompts) if len(prompts) else ():
                for i in result.object_ids:
                    values.append(region_similarity(result.mask(i), labels == i))
    text = ", ".join(f"{kind} {np.mean(values):.3f}" for kind, values in scores.items())
    print(f"{name}, {len(scores['box'])} single objects: {text}", flush=True)  # noqa: T201


def measure_corrections(
    model: surgsam2.SurgSAM2Model, name: str, frames: Iterable[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Correct the masks of one point by clicks, and print the mean IoU after each."""
    scores: list[list[float]] = []
    for number, (frame, labels) in enumerate(frames):
        large = np.where(areas(labels) >= SMALLEST * labels.size, labels, 0)
        prompts = make_prompts(large, 0, "1pt", key=f"{name}/{number}")
        if not len(prompts):
            continue
        still = StillFrame(model, frame)
        first = still.preview(prompts)
        for i in first.object_ids:
            mask, truth = first.mask(i), labels == i
            values = [region_similarity(mask, truth)]
            if not (mask.any() and 0.2 < values[0] < 0.92):
                continue
            for _ in range(3):
                if mask.any():
                    mask = still.refine(i, mask, [middle_of_error(mask, truth)]).masks[0]
                values.append(region_similarity(mask, truth))
            scores.append(values)
    means = ", ".join(f"{value:.3f}" for value in np.mean(scores, axis=0))
    worse = np.mean([values[1] < values[0] - 0.01 for values in scores])
    text = f"{len(scores)} corrected masks: {means}; the first click made {worse:.0%} worse"
    print(f"{name}, {text}", flush=True)  # noqa: T201


def middle_of_error(mask: np.ndarray, truth: np.ndarray) -> list[float]:
    """Return x, y and label of a click in the middle of the largest missing or wrong part."""
    depths = [
        cv2.distanceTransform(np.pad(part, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        for part in (mask & ~truth, truth & ~mask)
    ]
    label = int(depths[1].max() >= depths[0].max())
    y, x = np.unravel_index(depths[label].argmax(), mask.shape)
    return [float(x), float(y), label]


def areas(labels: np.ndarray) -> np.ndarray:
    """Return for each pixel how many pixels have its label."""
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return counts[places].reshape(labels.shape)


def measure_generated(
    model: surgsam2.SurgSAM2Model, name: str, seeds: range, indices: range
) -> None:
    """Track the objects of generated clips, each prompted when it is first large enough."""
    kinds = {"mask": 0, "5pt": 5, "1pt": 1}
    every: dict[str, list[Scores]] = {kind: [] for kind in kinds}
    j_and_f: dict[str, list[float]] = {kind: [] for kind in kinds}
    for seed in seeds:
        clip = generate_clip(seed, indices.stop, (512, 512))
        shown = [clip.frame(k) for k in indices]
        frames = [frame for frame, _ in shown]
        first: dict[int, int] = {}
        for k, (_, labels) in enumerate(shown):
            for i, area in zip(*np.unique(labels, return_counts=True), strict=True):
                if i and area >= SMALLEST * labels.size:
                    first.setdefault(int(i), k)
        for kind, points in kinds.items():
            prompts = surgsam2.PromptSet()
            for i, k in first.items():
                mask = shown[k][1] == i
                if points:
                    drawn = sample_points(mask, points, seed=0, key=f"{seed}/{i}")
                    prompts.add(object_id=i, frame=k, points=[list(p) for p in drawn])
                else:
                    prompts.add(object_id=i, frame=k, mask=mask)
            counts = {i: Scores() for i in first}
            both: dict[int, list[float]] = {i: [] for i in first}
            for result in tracked(model, frames, prompts, allow_overlap=False):
                for i in result.object_ids:
                    if result.frame_index > first[i]:
                        truth = shown[result.frame_index][1] == i
                        counts[i].add(result.mask(i), truth)
                        score = score_mask(result.mask(i), truth)
                        both[i].append((score.j + score.f) / 2)
            every[kind] += counts.values()
            j_and_f[kind] += [float(np.mean(values)) for values in both.values() if values]
    for kind in kinds:
        together = Scores.together(every[kind])
        print(f"{name}, {kind}: J&F {np.mean(j_and_f[kind]):.3f}; {together}", flush=True)  # noqa: T201


def tracked(
    model: surgsam2.SurgSAM2Model,
    frames: list[np.ndarray],
    prompts: surgsam2.PromptSet,
    *,
    allow_overlap: bool = True,
) -> Iterable[surgsam2.FrameResult]:
    """Track through frames, beginning with the first prompted one."""
    height, width = frames[0].shape[:2]
    first = min(prompt.frame for obj in prompts for prompt in obj.prompts)
    options = OVERLAP if allow_overlap else TrackingOptions()
    tracker = Tracker(model, width, height, first_frame=first, options=options)
    for frame in frames[first:]:
        yield tracker.step(frame, prompts)


class Scores:
    """What became of the masks of one object, or of several."""

    def __init__(self) -> None:
        self.visible: list[float] = []
        """J of the frames in which the object is visible."""
        self.lost = self.noticed = self.absent = 0
        """Visible frames without a mask, and noticed ones of the absent frames."""

    def add(self, mask: np.ndarray, truth: np.ndarray) -> None:
        """Count a frame's (H, W) bool mask against the truth."""
        if truth.any():
            self.visible.append(region_similarity(mask, truth))
            self.lost += not mask.any()
        else:
            self.absent += 1
            self.noticed += not mask.any()

    @staticmethod
    def together(several: Iterable[Scores]) -> Scores:
        """Return the counts of several objects, every frame with the same weight."""
        result = Scores()
        for one in several:
            result.visible += one.visible
            result.lost += one.lost
            result.noticed += one.noticed
            result.absent += one.absent
        return result

    def __str__(self) -> str:
        frames = len(self.visible) + self.absent
        every = (sum(self.visible) + self.noticed) / max(frames, 1)
        visible = np.mean(self.visible) if self.visible else 0
        return (
            f"J where visible {visible:.3f}, lost {self.lost} of {len(self.visible)}, absences "
            f"noticed {self.noticed} of {self.absent}, J of all frames {every:.3f}"
        )


if __name__ == "__main__":
    main()
