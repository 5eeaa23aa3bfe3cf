"""Results as a COCO dataset or a table in memory, with the content of the files of a run."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surgsam2.errors import InputError, MissingDependencyError
from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.outputs.coco import CocoWriter
from surgsam2.outputs.table import COLUMNS, TableWriter
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.temporary import TemporaryFolder

if TYPE_CHECKING:
    import pandas


def to_coco(results: Iterable[FrameResult], prompts: PromptSet) -> dict[str, Any]:
    """Return results as a COCO dataset; `CocoWriter` describes its content.

    Args:
        results: the results, such as `segment_video` gives; only one is held at a time.
        prompts: the prompts of the results, which name the objects.

    Raises:
        InputError: there are no results, or they have an object that is not in `prompts`.
    """
    with TemporaryFolder() as folder:
        _write(CocoWriter, results, prompts, None, folder)
        content: dict[str, Any] = parse_json((folder / CocoWriter.file_name).read_bytes())
        return content


def to_pandas(
    results: Iterable[FrameResult], prompts: PromptSet, fps: float | None = None
) -> pandas.DataFrame:
    """Return results as a table with a row per frame and object; `TableWriter` has its columns.

    Args:
        results: the results, such as `segment_video` gives; only one is held at a time.
        prompts: the prompts of the results, which name the objects.
        fps: frames per second of the video, for the column ``seconds``.

    Raises:
        InputError: there are no results, or they have an object that is not in `prompts`.
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingDependencyError(
            "a table in memory needs the Python package pandas: pip install pandas"
        ) from error
    with TemporaryFolder() as folder:
        _write(TableWriter, results, prompts, fps, folder)
        # The name of an object is text, even if it is "NA" or a number.
        empty = {column: [""] for column in COLUMNS if column != "name"}
        return pandas.read_csv(
            folder / "frames.csv", dtype={"name": str}, keep_default_na=False, na_values=empty
        )


def _write(
    kind: type[OutputWriter],
    results: Iterable[FrameResult],
    prompts: PromptSet,
    fps: float | None,
    folder: Path,
) -> None:
    """Write results by a writer that does not look at frames."""
    remaining = iter(results)
    first = next(remaining, None)
    if first is None:
        raise InputError("there are no results")
    _, height, width = first.masks.shape
    no_frame = np.broadcast_to(np.uint8(0), (height, width, 3))
    with closing(kind(folder, OutputContext(width, height, fps, prompts.objects))) as writer:
        writer.write(no_frame, first)
        for result in remaining:
            writer.write(no_frame, result)
