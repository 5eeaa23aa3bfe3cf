"""The results of an earlier run in an output folder, and which of them a new run keeps."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.errors import ImageFileError, OutputError
from surgsam2.job.checkpoint import CheckpointStore
from surgsam2.job.fingerprint import Identity, differences
from surgsam2.job.inputs import RunInputs
from surgsam2.outputs import INCOMPLETE, OutputContext, ResultRecord, label_map
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.atomic_file import TEMPORARY_SUFFIX, write_text_atomically, writing
from surgsam2.storage.atomic_file import replace as replace_file
from surgsam2.storage.disk_store import DiskStore, valid_length
from surgsam2.storage.image_file import read_pixels
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.label_image import LABELS, label_name
from surgsam2.storage.output_folder import RECORD, RECORD_IDENTITY

logger = logging.getLogger(__name__)

_MAY_DIFFER = frozenset(
    {
        "prompts",
        "corrected objects",
        "direction",
        "frame range",
        "formats",
        "device",
        "dtype",
        "surgsam2 version",
        "torch version",
    }
)
"""Parts of a run's identity that a run may change when it replaces a range of frames."""


@dataclass(frozen=True)
class EarlierResults:
    """What an earlier run, complete or interrupted, left in an output folder."""

    identity: Identity
    """Which run it was."""
    record: Path
    """The file with its results; see `ResultRecord`."""
    length: int
    """Valid length of the file in bytes."""
    interrupted: bool = False
    """Whether the run was interrupted."""

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats of the run."""
        return tuple(self.identity["formats"].split(","))

    def open(self) -> DiskStore:
        """Open the record; raise `OutputError` if it is damaged."""
        return DiskStore(self.record, length=self.length)


def find_earlier(output: Path) -> EarlierResults | None:
    """Return the results of an earlier run; None if the folder holds none that can be read."""
    store = CheckpointStore(output)
    try:
        state = store.load() if (output / INCOMPLETE).exists() else None
        if state is not None:
            length = max(valid_length(store.record), state.results_bytes)
            interrupted = EarlierResults(state.identity, store.record, length, interrupted=True)
            interrupted.open().close()
            return interrupted
    except OutputError as error:
        logger.warning("%s", error)
    record = output / RECORD
    try:
        identity = parse_json((output / RECORD_IDENTITY).read_bytes())
        size = record.stat().st_size
    except (OSError, ValueError):
        return None
    known = isinstance(identity, dict) and isinstance(identity.get("formats"), str)
    return EarlierResults(identity, record, size) if known else None


def finished_report(output: Path) -> dict[str, Any] | None:
    """Return the report of a complete run; None when the folder does not hold one."""
    try:
        if (output / INCOMPLETE).exists():
            return None
        report = parse_json((output / "report.json").read_bytes())
    except (OSError, ValueError):
        return None
    complete = isinstance(report, dict) and report.get("status") == "complete"
    return report if complete and isinstance(report.get("identity"), dict) else None


def refuse_another_run(
    earlier: EarlierResults, identity: Identity, output: Path, *, corrects: bool
) -> None:
    """Check that a new run may replace frames of an earlier one.

    Args:
        earlier: the earlier run.
        identity: the identity of the new run.
        output: the output folder.
        corrects: whether the new run corrects the results: it may then have further objects.

    Raises:
        OutputError: the earlier run had another video, other objects or other options.
    """
    may_differ = _MAY_DIFFER | ({"objects"} if corrects else set())
    relevant = {name: value for name, value in identity.items() if name not in may_differ}
    different = differences(earlier.identity, relevant)
    if different and corrects:
        raise OutputError(
            f"cannot correct {output}: its results are of another run ({different}); give the "
            "video and the model of that run, with the same options"
        )
    if different:
        raise OutputError(
            f"cannot write {output}: it holds results of another run ({different}), which would "
            "be lost; choose another folder, or replace them with overwrite (--overwrite)"
        )


def refuse_edited_masks(
    earlier: EarlierResults, inputs: RunInputs, output: Path, frames: range
) -> None:
    """Check that no label image that a run would replace was changed by hand.

    Raises:
        OutputError: a label image differs from what the earlier run wrote.
    """
    if "png" not in earlier.formats:
        return
    with closing(earlier.open()) as store:
        record = ResultRecord(store, inputs.video.width, inputs.video.height)
        # An interrupted run checked the files before, and recorded each result before its file.
        began = _modified(output / INCOMPLETE) if earlier.interrupted else 0
        since = (i for i in frames if _modified(_label_path(output, inputs.context, i)) >= began)
        edited = list(_edited(output, record, inputs.context, since))
    if edited:
        more = f" and {len(edited) - 1} others" if len(edited) > 1 else ""
        first = _label_path(output, inputs.context, edited[0]).name
        anew = ", choose another folder, or replace them with overwrite (--overwrite)"
        raise OutputError(
            f"cannot write {output}: {LABELS}/{first}{more} were changed since "
            "they were written, and would be lost; leave these frames out with --start and "
            f"--stop{anew if inputs.corrected is None else ''}"
        )


def copy_record(earlier: EarlierResults, inputs: RunInputs, output: Path, path: Path) -> list[int]:
    """Copy the results of an earlier run, with the masks that were changed by hand since.

    Args:
        earlier: the earlier run.
        inputs: the inputs of the new run.
        output: the output folder.
        path: the new file; its folder is made if it is missing.

    Returns:
        The indices of the frames whose masks were changed by hand.

    Raises:
        OutputError: a file is damaged or cannot be written.
    """
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        written = earlier.record.stat().st_mtime_ns
    copy = path.with_name(path.name + TEMPORARY_SUFFIX)
    with closing(earlier.open()) as store:
        store.copy_to(copy)
    replace_file(copy, path)
    if "png" not in earlier.formats:
        return []
    with closing(DiskStore(path, length=path.stat().st_size)) as store:
        record = ResultRecord(store, inputs.video.width, inputs.video.height)
        touched = [
            index
            for index in record.indices()
            if _modified(_label_path(output, inputs.context, index)) > written
        ]
        edited = list(_edited(output, record, inputs.context, touched))
        for index in edited:
            path = _label_path(output, inputs.context, index)
            record.put(_with_labels(record.get(index), path))
        store.sync()
    return edited


def keep_record(output: Path, identity: Identity) -> None:
    """Keep the record of a run that is complete in its output folder.

    Raises:
        OutputError: the disk refuses.
    """
    source = CheckpointStore(output).record
    if not source.is_file():
        return
    part = output / f"{RECORD}{TEMPORARY_SUFFIX}"
    with writing(part):
        shutil.copyfile(source, part)
    replace_file(part, output / RECORD)
    write_text_atomically(output / RECORD_IDENTITY, json.dumps(identity))


def _label_path(output: Path, context: OutputContext, index: int) -> Path:
    """Return the label image of a result."""
    return output / LABELS / label_name(context.number(index))


def with_kept_objects(result: FrameResult, kept: FrameResult, inputs: RunInputs) -> FrameResult:
    """Return the result of a corrected frame, with the objects that were not tracked again.

    Args:
        result: the result of the objects that were tracked again. Where masks must not overlap,
            they get the pixels that they share with other objects.
        kept: the earlier result of the frame.
        inputs: the inputs of the correction.
    """
    rows = {object_id: (kept, row) for row, object_id in enumerate(kept.object_ids)}
    rows |= {object_id: (result, row) for row, object_id in enumerate(result.object_ids)}
    ordered = [rows[item.id] for item in inputs.prompts if item.id in rows]
    masks = np.stack([source.masks[row] for source, row in ordered])
    if not inputs.options.tracking.allow_overlap:
        taken = result.masks.any(axis=0)
        for position, (source, _) in enumerate(ordered):
            if source is kept:
                masks[position] &= ~taken
    return FrameResult(
        result.frame_index,
        tuple(source.object_ids[row] for source, row in ordered),
        masks,
        np.array([source.iou_scores[row] for source, row in ordered], np.float32),
        np.array([source.presence[row] for source, row in ordered], np.float32),
        result.milliseconds,
    )


def _edited(
    output: Path, record: ResultRecord, context: OutputContext, frames: Iterable[int]
) -> Iterable[int]:
    """Yield the frames whose label image is not the one that the record gives."""
    for index in frames:
        path = _label_path(output, context, index)
        if index not in record or not path.is_file():
            continue
        try:
            labels = read_pixels(path).values
        except ImageFileError:
            yield index
            continue
        if not np.array_equal(labels, label_map(record.get(index), context)):
            yield index


def _with_labels(result: FrameResult, path: Path) -> FrameResult:
    """Return a result with the masks of a label image; as it is if the image cannot be read."""
    try:
        labels = read_pixels(path).values
    except ImageFileError:
        return result
    if labels.shape != result.masks.shape[1:]:
        return result
    masks = np.stack([labels == object_id for object_id in result.object_ids])
    return replace(result, masks=masks) if len(masks) else result


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
