"""Scoring of label PNGs that already exist, whatever program wrote them.

Files are matched by name: sequence folder and file name without extension, or the name of
the frame's source image where the files tell it (`--keep-names`). Every annotated frame is
scored. A missing file counts as empty masks, and everything unusual has an entry in the record's
`problems`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from surgsam2.data.label_reader import (
    label_files_by_frame,
    label_folders,
    label_ids,
    read_labels,
)
from surgsam2.evaluation.metrics.scores import (
    FrameScores,
    ObjectScores,
    SequenceScores,
    score_frame,
)
from surgsam2.evaluation.parallel import parallel_map
from surgsam2.evaluation.report.record import run_record
from surgsam2.evaluation.report.worst import thumbnail, worst_records
from surgsam2.evaluation.runs.tracking import Progress
from surgsam2.evaluation.truth.problems import Problems
from surgsam2.evaluation.truth.sequences import Scan, TruthSequence

SizeMismatch = Literal["missing", "resize"]
Found = list[tuple[str, str]]
"""(kind of problem, message) of everything unusual about a frame."""


def score_predictions(
    predictions: Path,
    scans: list[Scan],
    *,
    name: str = "predictions",
    class_names: Mapping[int, str] | None = None,
    size_mismatch: SizeMismatch = "missing",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a folder of predicted label PNGs and return the record of the run.

    Args:
        predictions: Folder in one of the layouts of `label_folders`. Values are object ids,
            or classes where the truth has classes.
        scans: The truth, from `scan`.
        name: Name of the run.
        class_names: Class -> name, where the truth has classes.
        size_mismatch: Whether a prediction of another size than the truth counts as
            missing (reference tools refuse it) or is resized by nearest neighbour.
        progress: Called after each frame with the sequence, frames done and frames in all.

    Raises:
        DatasetError: The folder has no label PNGs.
    """
    problems = Problems()
    labels = label_folders(predictions)
    folders = dict(labels.folders)
    if len(scans) == 1 and labels.flat:
        # PNGs that lie directly in the folder belong to the only sequence, whatever its name.
        folders = dict.fromkeys([scans[0].sequence.name], next(iter(folders.values())))
    problems.add_stray_files(labels.stray, predictions.absolute().name)
    # A raw release nests its sequences; predictions may have only the last folder's name.
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
        files = label_files_by_frame(folder) if folder else {}
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
        """Read a frame's label map (None when it counts as missing) and what was unusual."""
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
        """Draw one object on one frame, as a small JPEG."""
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
                continue  # The missing sequence already has an entry.
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
