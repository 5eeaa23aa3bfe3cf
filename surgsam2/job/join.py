"""Makes one run of the chunks that several processes have tracked.

The results of all chunks become the saved state of a run that has nothing left to track;
`segment_to_folder` with `resume` then writes every file, as for any other run.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surgsam2.job.checkpoint import Checkpoint, CheckpointStore
from surgsam2.job.chunks import OUTPUTS, RESULTS, Chunk
from surgsam2.job.fingerprint import Identity
from surgsam2.job.inputs import RunInputs
from surgsam2.job.split import Split
from surgsam2.outputs import ResultRecord
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.output_store import load_outputs
from surgsam2.tracking.postprocess import make_result

Chunks = Sequence[tuple[Chunk, Path]]
"""Chunks in order, each with its folder."""


def join_chunks(
    inputs: RunInputs, chunks: Chunks, output: Path, identity: Identity, interruptions: int
) -> Split | None:
    """Make all chunks of a video the saved state of a run that has nothing left to track.

    Args:
        inputs: the inputs of the whole run.
        chunks: all chunks; those of the first part come first, then those of the second one.
        output: the output folder, in which no other run writes.
        identity: the identity of the run when it was tracked.
        interruptions: how often its tracking was interrupted, for the report.

    Returns:
        The split of the inputs; one by time has got its `overlaps`.

    Raises:
        OutputError: a file is damaged or cannot be written.
    """
    store, split = CheckpointStore(output), inputs.split
    for chunk, folder in chunks:
        for name in chunk.files.keys() & {RESULTS, OUTPUTS}:
            chunk.check(folder / name)
    with writing(store.record):
        store.folder.mkdir(parents=True, exist_ok=True)
    if split is not None and split.objects:
        _join_objects(inputs, chunks, store.record)
    else:
        # Where parts overlap, the later part replaces the results of the earlier one.
        with writing(store.record), store.record.open("wb") as target:
            for chunk, folder in chunks:
                if RESULTS in chunk.files:
                    with (folder / RESULTS).open("rb") as source:
                        shutil.copyfileobj(source, target)
    if split is not None and split.cuts:
        split = replace(split, overlaps=compare_parts(inputs, split, chunks))
    store.save(
        Checkpoint(
            identity=identity,
            tracking={},
            steps=inputs.plan.steps,
            seconds=sum(chunk.seconds for chunk, _ in chunks),
            resumed=interruptions - 1,  # the run that writes the files adds one
            results_bytes=store.record.stat().st_size,
            first_pass_bytes=0,
            updating=False,
        )
    )
    return split


def compare_parts(inputs: RunInputs, split: Split, chunks: Chunks) -> tuple[dict[str, Any], ...]:
    """Compare each part by time with the next one, on the frames that both have tracked.

    Args:
        inputs: the inputs of the whole run.
        split: a split by time.
        chunks: all chunks.

    Returns:
        For each cut, its `frame`, the number of `frames` that were compared, and by object id the
        mean `iou` of the two masks, 1 where both are empty. Frames on which the object is
        prompted do not count, because there both parts show what the prompt says; an object
        without any other frame is left out.
    """
    found = []
    size = (inputs.video.width, inputs.video.height)
    for number, cut in enumerate(split.cuts):
        with ExitStack() as resources:
            stores = [_store(chunks, part, RESULTS, resources) for part in (number, number + 1)]
            before, after = (ResultRecord(store, *size) for store in stores)
            shared = [index for index in before.indices() if index >= cut and index in after]
            ious: dict[int, list[float]] = {}
            for index in shared:
                one, other = before.get(index), after.get(index)
                for object_id in set(one.object_ids) - set(inputs.prompts.on_frame(index)):
                    iou = _iou(one.mask(object_id), other.mask(object_id))
                    ious.setdefault(object_id, []).append(iou)
        found.append(
            {
                "frame": inputs.context.number(cut),
                "frames": len(shared),
                "iou": {str(i): round(float(np.mean(ious[i])), 4) for i in sorted(ious)},
            }
        )
    return tuple(found)


def _join_objects(inputs: RunInputs, chunks: Chunks, target: Path) -> None:
    """Resolve the overlaps of all objects, and write the results to a file."""
    split, order = inputs.split, [item.id for item in inputs.prompts]
    assert split is not None
    size = (inputs.video.width, inputs.video.height)
    with ExitStack() as resources:
        parts = range(split.parts)
        outputs = [_store(chunks, part, OUTPUTS, resources) for part in parts]
        records = [ResultRecord(_store(chunks, p, RESULTS, resources), *size) for p in parts]
        store = resources.enter_context(closing(DiskStore(target)))
        joined = ResultRecord(store, *size)
        for index in records[0].indices():
            found: dict[int, Any] = {}
            for part in outputs:
                found |= load_outputs(part, index, torch.device("cpu"))
            ordered = {i: found[i] for i in order if i in found}
            result = make_result(index, ordered, size, inputs.options.tracking, began=0.0)
            slowest = max(record.get(index).milliseconds for record in records)
            joined.put(replace(result, milliseconds=slowest))
        store.sync()


def _store(chunks: Chunks, part: int, name: str, resources: ExitStack) -> DiskStore:
    """Open the files of one name of all chunks of a part as one store, to be read."""
    stores = [
        resources.enter_context(closing(chunk.opened(folder / name)))
        for chunk, folder in chunks
        if chunk.part == part and name in chunk.files
    ]
    return DiskStore(earlier=stores)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = int(np.logical_or(a, b).sum())
    return int(np.logical_and(a, b).sum()) / union if union else 1.0
