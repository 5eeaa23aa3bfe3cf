"""Score label PNGs that already exist, whatever wrote them.

Files are matched by name: sequence folder and file name without extension. Each
annotated frame is scored; what is missing counts as an empty mask, and everything
unusual is named in the record's `problems`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from surgsam2.data.label_reader import (
    label_files,
    label_folders,
    label_ids,
    read_labels,
)
from surgsam2.evaluation.parallel import parallel_map
from surgsam2.evaluation.problems import Problems
from surgsam2.evaluation.record import run_record
from surgsam2.evaluation.scores import FrameScores, ObjectScores, SequenceScores, score_frame
from surgsam2.evaluation.scoring import Progress
from surgsam2.evaluation.truth import Scan, TruthSequence
from surgsam2.evaluation.worst import thumbnail, worst_records

SizeMismatch = Literal["missing", "resize"]
Found = list[tuple[str, str]]
"""(kind, message) of what was unusual about a frame."""


def score_predictions(
    predictions: Path,
    scans: list[Scan],
    *,
    name: str = "predictions",
    class_names: Mapping[int, str] | None = None,
    size_mismatch: SizeMismatch = "missing",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The record of a run for a folder of predicted label PNGs.

    predictions: a folder as `labels.label_folders` reads it; values are object ids, or
    classes where the truth has classes.
    scans: the truth, from `truth.scan`.
    size_mismatch: whether a prediction of another size than the truth counts as
    missing (the reference tools refuse it) or is resized by nearest neighbour.
    progress: called with (sequence, frames done, frames in all).
    """
    problems = Problems()
    labels = label_folders(predictions)
    folders = dict(labels.folders)
    if len(scans) == 1 and labels.flat:
        # PNGs without a folder of their own for one sequence: there is no name to compare
        folders = dict.fromkeys([scans[0].sequence.name], next(iter(folders.values())))
    problems.add_stray_files(labels, predictions.absolute().name)
    # a raw release nests its sequences; predictions may be by the last folder's name alone
    found = {}
    for scan in scans:
        long, short = scan.sequence.name, scan.sequence.name.rsplit("/", 1)[-1]
        key = next((name for name in (long, short) if name in folders), None)
        found[long] = None if key is None else folders.pop(key)
    for extra in sorted(folders):
        problems.add("unexpected-sequence", extra, "folder of predictions without a truth")
    readers = []
    for scan in scans:
        folder = found[scan.sequence.name]
        if folder is None:
            message = "no folder of predictions of this name"
            problems.add("missing-sequence", scan.sequence.name, message)
        files = label_files(folder) if folder else {}
        readers.append(_PredictedSequence(scan.sequence, files, size_mismatch))
    scored = [
        _score_sequence(scan, reader, problems, progress)
        for scan, reader in zip(scans, readers, strict=True)
    ]
    by_name = {reader.truth.name: reader for reader in readers}

    def picture(scores: ObjectScores, frame: int) -> bytes:
        return by_name[scores.sequence].picture(frame, scores.object_id)

    return run_record(
        name,
        scored,
        kind="predictions",
        class_names=class_names,
        prompts=None,
        speed=None,
        worst=worst_records(scored, picture),
        problems=problems.as_list(),
    )


class _PredictedSequence:
    """The predicted label PNGs of one sequence."""

    def __init__(
        self, truth: TruthSequence, files: Mapping[str, Path], size_mismatch: SizeMismatch
    ) -> None:
        self.truth = truth
        self.files = files
        self._resize = size_mismatch == "resize"

    def read(self, index: int, shape: tuple[int, ...]) -> tuple[np.ndarray | None, Found]:
        """The label map of a frame, or None, and what was unusual."""
        path = self.files.get(self.truth.frames[index])
        if path is None:
            return None, [("missing-frame", "no prediction of this name")]
        file = read_labels(path)
        found = [(file.problem, file.message)] if file.problem else []
        labels = file.labels
        if labels is None or labels.shape == shape:
            return labels, found
        sizes = f"{labels.shape[1]}x{labels.shape[0]} where the truth is {shape[1]}x{shape[0]}"
        if not self._resize:
            return None, [*found, ("size-mismatch", sizes)]
        resized = cv2.resize(labels, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(resized), [*found, ("resized", sizes)]

    def picture(self, index: int, object_id: int) -> bytes:
        """A thumbnail of one object on one frame."""
        truth = self.truth.labels(index)
        pred, _ = self.read(index, truth.shape)
        mask = np.zeros(truth.shape, np.bool_) if pred is None else pred == object_id
        frame = None
        if self.truth.open is not None:
            with self.truth.open() as video:
                frame = video[index]
        return thumbnail(frame, mask, truth == object_id)


def _score_sequence(
    scan: Scan,
    predicted: _PredictedSequence,
    problems: Problems,
    progress: Progress | None,
) -> SequenceScores:
    sequence, known = scan.sequence, scan.first_frames
    scores = scan.new_scores()
    example = sequence.frames[0] if sequence.frames else "00000"
    for frame in predicted.files:
        if frame not in sequence.frames:
            message = f"no frame of this name (names of the truth look like {example}.png)"
            problems.add("unexpected-frame", sequence.name, message, frame)

    def score(index: int) -> tuple[int, FrameScores, Found]:
        truth = sequence.labels(index)
        pred, found = predicted.read(index, truth.shape)
        masks = {i: pred == i for i in label_ids(pred)} if pred is not None else {}
        extra = [i for i in masks if i not in known]
        if extra:
            found.append(("extra-object", _extra_message(extra, known)))
        return index, score_frame(masks, truth, scan.classes, sequence.classes), found

    for done, (index, frame_scores, found) in enumerate(parallel_map(score, scan.annotated)):
        for kind, message in found:
            if kind == "missing-frame" and not predicted.files:
                continue  # the whole sequence is missing and already named
            problems.add(kind, sequence.name, message, sequence.frames[index])
        scores.add(index, frame_scores)
        if progress is not None:
            progress(sequence.name, done + 1, len(scan.annotated))
    return scores


def _extra_message(extra: list[int], known: Mapping[int, int]) -> str:
    ids = ", ".join(map(str, extra))
    message = f"object {ids} is not in the truth, which has {', '.join(map(str, sorted(known)))}"
    if extra == [255]:
        message += " (a mask of 0 and 255? values must be object ids)"
    return message
