"""The masks of a project in the formats of `surgsam2 segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.annotate.project_view import ProjectView
from surgsam2.annotate.states import UNKNOWN_SCORE, FrameState
from surgsam2.errors import InputError
from surgsam2.outputs.base import OutputContext
from surgsam2.outputs.output_set import FORMATS, OutputSet
from surgsam2.prompts import Prompt, PromptedObject
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.label_image import LABELS
from surgsam2.storage.output_folder import ANNOTATION, PROMPTS
from surgsam2.video import Video
from surgsam2.video.dicom_header import is_dicom

EXPORTS = tuple(name for name in FORMATS if name != "png")
"""The formats that can be chosen; label PNGs are always there."""


def offered_formats(video: Video) -> tuple[str, ...]:
    """Return the formats that the masks of a video can be exported in, some of `EXPORTS`."""
    dicom = bool(video.files) and all(map(is_dicom, video.files))
    return tuple(name for name in EXPORTS if dicom or name != "dicom-seg")


def wanted_formats(body: bytes) -> Any:
    """Return what a request of the page names as formats, unchecked.

    Raises:
        InputError: the request is no JSON object.
    """
    try:
        request = parse_json(body)
    except ValueError as error:
        raise InputError(f"the request is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise InputError("the request must be a JSON object with formats")
    return request.get("formats")


def export_project(project: ProjectView, video: Video, formats: Any) -> list[str]:
    """Write the masks of all frames that were looked at.

    Args:
        project: the project, which may change meanwhile; the files go to the same folder.
        video: the video, which is read from the first to the last frame with a mask.
        formats: names of formats, some of `EXPORTS`.

    Returns:
        The names of the files in the folder that were written.

    Raises:
        InputError: an unknown format, or there is no mask yet.
        OutputError: a file cannot be written.
    """
    if not isinstance(formats, list) or not formats or any(one not in EXPORTS for one in formats):
        raise InputError(f"formats must be some of {', '.join(EXPORTS)}, got {formats!r:.80}")
    items = list(project.objects.values())
    seen = [np.flatnonzero(project.timelines[item.id].states) for item in items]
    frames = np.unique(np.concatenate(seen)) if seen else np.zeros(0, np.int64)
    if not len(frames):
        raise InputError("there are no masks to export; mark and track an object first")
    context = OutputContext(
        video.width,
        video.height,
        video.fps,
        tuple(_with_a_prompt(project, item.id) for item in items),
        frame_count=len(frames),
        times=video.timestamps,
        pixel_aspect=video.pixel_aspect,
        files=video.files,
    )
    before = _latest_changes(project)
    chosen = {int(frame) for frame in frames}
    with OutputSet(project.folder, formats, context) as outputs:
        for index, picture in video.frames(int(frames[0]), int(frames[-1]) + 1):
            if index in chosen:
                outputs.write(picture, _result(project, index))
    after = _latest_changes(project)
    return sorted(name for name, time in after.items() if before.get(name) != time)


def _latest_changes(project: ProjectView) -> dict[str, int]:
    """Return when each file and folder beside the project's own was last written, in ns.

    Hidden files do not count: one that is not finished may be renamed meanwhile.
    """
    prompts = Path(PROMPTS).stem  # The masks of prompts are beside their file.
    found = [
        path
        for path in project.folder.iterdir()
        if path.name not in (ANNOTATION, LABELS) and not path.name.startswith((prompts, "."))
    ]
    return {
        path.name: max(one.stat().st_mtime_ns for one in (path, *path.rglob("*"))) for path in found
    }


def _with_a_prompt(project: ProjectView, object_id: int) -> PromptedObject:
    item = project.objects[object_id]
    prompts = tuple(project.prompts[object_id].values())
    shown = prompts or (Prompt(0, np.zeros((1, 2)), np.ones(1)),)
    return PromptedObject(item.id, item.name, item.color, shown, item.object_class)


def _result(project: ProjectView, frame: int) -> FrameResult:
    labels = project.labels(frame)
    ids = tuple(
        object_id
        for object_id, line in project.timelines.items()
        if line.states[frame] != FrameState.NONE
    )
    masks = np.stack([labels == i for i in ids]) if ids else np.zeros((0, *labels.shape), bool)
    scores = np.array([project.timelines[i].scores[frame] for i in ids], np.float32)
    known = np.where(scores == UNKNOWN_SCORE, np.nan, scores / 254).astype(np.float32)
    visible = np.array([mask.any() for mask in masks], np.float32)
    return FrameResult(frame, ids, masks, known, visible)
