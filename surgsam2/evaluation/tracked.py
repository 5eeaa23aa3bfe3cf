"""The record of one video that was tracked: with a truth to score it, or without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from surgsam2.evaluation.problems import Problems
from surgsam2.evaluation.record import run_record
from surgsam2.evaluation.scoring import Progress, score_results
from surgsam2.evaluation.stopwatch import Stopwatch
from surgsam2.evaluation.truth import TruthSequence, scan
from surgsam2.evaluation.worst import WorstPictures
from surgsam2.results.frame_result import FrameResult


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
    watch, pictures = Stopwatch(), WorstPictures()
    video = None if sequence.open is None else sequence.open()
    with nullcontext() if video is None else video:
        scores = score_results(
            each,
            watch.sequence(results),
            label=name,
            look=None if video is None else partial(pictures.offer, each, video),
            progress=progress,
        )
    return run_record(
        name,
        [scores],
        kind="model",
        class_names={c: sequence.names.get(i, "") for i, c in sequence.classes.items()},
        speed=watch.record(),
        worst=pictures.records([scores]),
        problems=problems.as_list(),
        **facts,
    )


def tracking_record(
    name: str, results: Iterable[FrameResult], names: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """The record of a tracked video without a truth, for `write_report`.

    Per object and frame: area as a fraction of the image, presence and predicted IoU.
    Feed results as they come; only numbers are kept.
    """
    objects: dict[int, dict[str, Any]] = {}
    for result in results:
        for i, object_id in enumerate(result.object_ids):
            entry = objects.setdefault(
                object_id,
                {
                    "id": object_id,
                    "name": (names or {}).get(object_id, ""),
                    "prompt_frame": None,
                    "frames": [],
                    "area": [],
                    "iou_score": [],
                    "presence": [],
                },
            )
            entry["frames"].append(result.frame_index)
            entry["area"].append(round(float(result.masks[i].mean()), 6))
            entry["iou_score"].append(round(float(result.iou_scores[i]), 5))
            entry["presence"].append(round(float(result.presence[i]), 5))
    sequence = {"name": name, "objects": list(objects.values())}
    return {"name": name, "kind": "tracking", "sequences": [sequence], "problems": []}
