"""Decides how the videos of a list are divided into parts."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.worker import fetch_prompts
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.job.datalist import VideoJob
from surgsam2.job.options import JobOptions
from surgsam2.job.split import Split, plan_split
from surgsam2.storage.places import LocalCopies
from surgsam2.storage.temporary import TemporaryFolder
from surgsam2.storage.text import one_line

logger = logging.getLogger(__name__)


def plan_splits(
    jobs: Sequence[VideoJob], options: ListOptions, job_options: JobOptions
) -> list[Split | None]:
    """Return how each video is divided; None for one that is not.

    A video with one object is not divided by objects, and one without a frame to cut at is not
    divided by time. Neither is one whose prompts cannot be used: the worker that opens its files
    says why.

    Args:
        jobs: the videos, whose prompts are read.
        options: `split` and `split_parts` count.
        job_options: the options of all runs.

    Raises:
        InputError: a division by time with another direction than `forward`.
    """
    by, direction = options.split, job_options.tracking.direction
    if by is None:
        return [None] * len(jobs)
    if by == "time" and direction != "forward":
        raise InputError(
            f"split time needs direction forward, got {direction}; choose split objects"
        )
    splits: list[Split | None] = []
    with TemporaryFolder() as folder:
        copies = LocalCopies(folder, 0)
        for job in jobs:
            try:
                prompts = fetch_prompts(copies, job.prompts)
                split = plan_split(by, options.split_parts, prompts, job_options)
            except SurgSAM2Error:
                split = None
            if split is None:
                logger.warning("%s: not divided by %s", one_line(job.output.name), by)
            splits.append(split)
    return splits
