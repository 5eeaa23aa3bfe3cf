"""``annotation.json``: what the other files of a project do not hold.

These are objects without prompts, locks, visibility, and the state of each frame.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.annotate.states import AnnotatedObject, ObjectTimeline, runs_of, values_of
from surgsam2.errors import OutputError
from surgsam2.prompts.checks import checked_color, checked_id, checked_name
from surgsam2.prompts.object_class import ObjectClass
from surgsam2.storage.atomic_file import write_text_atomically
from surgsam2.storage.json_text import parse_json

VERSION = 1


@dataclass(frozen=True)
class VideoSize:
    """What a project file says of its video, by which another video is recognised."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    frames: int


def write_project_file(
    path: Path,
    video: VideoSize,
    objects: Iterable[AnnotatedObject],
    timelines: Mapping[int, ObjectTimeline],
) -> None:
    """Write the project file.

    Args:
        path: the file.
        video: the size of the video.
        objects: all objects.
        timelines: the timeline of each object by its id.

    Raises:
        OutputError: the file cannot be written; the file before is intact.
    """
    content = {
        "version": VERSION,
        "video": asdict(video),
        "objects": [
            asdict(item)
            | {
                "states": runs_of(timelines[item.id].states),
                "scores": base64.b64encode(timelines[item.id].scores.tobytes()).decode(),
            }
            for item in objects
        ],
    }
    write_text_atomically(path, json.dumps(content, ensure_ascii=False))


def read_project_file(path: Path, video: VideoSize) -> list[tuple[AnnotatedObject, ObjectTimeline]]:
    """Return the objects of a project file with their timelines.

    Args:
        path: the file.
        video: the size of the video that is open.

    Raises:
        OutputError: the file is damaged, of another version, or of another video.
    """
    try:
        content = parse_json(path.read_bytes())
        _check(content, path, video)
        return [_read_object(record, video.frames) for record in content["objects"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{path}: the project file is damaged ({error}); move it away to start anew from "
            "the masks and prompts that are beside it"
        ) from error


def _check(content: Any, path: Path, video: VideoSize) -> None:
    if content["version"] != VERSION:
        raise OutputError(
            f"{path}: the project has version {content['version']!r}, this program writes "
            f"{VERSION}; use the program that began it, or another folder"
        )
    if content["video"] != asdict(video):
        raise OutputError(
            f"{path}: the project is of another video ({content['video']}, this one has "
            f"{asdict(video)}); open that video, or choose another folder"
        )


def _read_object(record: Any, frame_count: int) -> tuple[AnnotatedObject, ObjectTimeline]:
    scores = np.frombuffer(base64.b64decode(record["scores"], validate=True), np.uint8)
    if len(scores) != frame_count:
        raise ValueError("the scores do not cover the frames")
    place = f"object {checked_id(record['id'])}"
    checked_name(record["name"], place)
    item = AnnotatedObject(
        record["id"],
        record["name"],
        checked_color(record["color"], place),
        record["locked"] is True,
        record["visible"] is True,
        ObjectClass(**kind) if (kind := record.get("object_class")) else None,
    )
    line = ObjectTimeline(frame_count)
    line.states = values_of(record["states"], frame_count)
    line.scores = scores.copy()
    return item, line
