"""Importing masks from files, as results or as prompts to track from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surgsam2.mrml.terminology import entry_of
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.results.mask_source import SavedMasks
from surgsam2.results.saved_masks import open_saved_masks
from SurgSAM2Lib.prompts.store import parts
from SurgSAM2Lib.session.results import write_result

if TYPE_CHECKING:
    from SurgSAM2Lib.session.session import Session


def import_masks(session: Session, path: str | Path, as_prompts: bool = False) -> list[int]:
    """Read masks from a folder of label PNGs or a COCO file.

    Objects are matched by id; those that are missing are added with name and colour from
    the files. Results are written like tracked masks, not over good frames nor over masks
    that are prompts. Nothing changes when a file is damaged or does not fit.

    Args:
        session: the session of the video that the files were made for.
        path: the folder, or the ``.json`` file. Its frames are counted from 0, as in the scene.
        as_prompts: whether each mask becomes a prompt, in place of one that its object has
            on that frame.

    Returns:
        The frames that masks were read for.

    Raises:
        InputError: the files cannot be read or do not fit the video.
        MissingDependencyError: a package that reads them is not installed.
    """
    saved = open_saved_masks(path)
    video = session.video
    ids = saved.check(video.width, video.height, video.frame_count)
    if as_prompts:
        session.take_prompts(_with_prompts(session, saved))
    else:
        _write(session, saved, ids)
    return list(saved.frames)


def _write(session: Session, saved: SavedMasks, ids: tuple[int, ...]) -> None:
    for object_id in ids:
        if object_id not in session.objects:
            session.masks.add_object(
                object_id, saved.name(object_id), saved.color(object_id),
                entry_of(saved.object_class(object_id)),
            )  # fmt: skip
    nothing = np.zeros((session.video.height, session.video.width), bool)
    unknown = np.full(len(ids), np.nan, np.float32)
    undo = session.begin_results()
    for frame in saved.frames:
        found = saved.read(frame)
        masks = np.stack([found.get(object_id, nothing) for object_id in ids])
        write_result(session, FrameResult(frame, ids, masks, unknown, unknown), undo=undo)


def _with_prompts(session: Session, saved: SavedMasks) -> PromptSet:
    """Return the present prompts with the saved masks in place of those on the same frames."""
    masks = {
        (object_id, frame): mask
        for frame in saved.frames
        for object_id, mask in saved.read(frame).items()
    }
    result = PromptSet(video=session.prompts.video)
    for item in session.prompt_set():
        for prompt in item.prompts:
            if (item.id, prompt.frame) not in masks:
                result.add(
                    object_id=item.id, frame=prompt.frame, name=item.name, color=item.color,
                    object_class=item.object_class, **parts(prompt),
                )  # fmt: skip
    described: dict[int, dict[str, Any]] = {
        style.id: {"name": style.name, "color": style.color, "object_class": object_class}
        for style, object_class in session.classes.of_objects().items()
    }
    for (object_id, frame), mask in masks.items():
        if object_id not in described:
            described[object_id] = {
                "name": saved.name(object_id),
                "color": saved.color(object_id),
                "object_class": saved.object_class(object_id),
            }
        result.add(object_id=object_id, frame=frame, mask=mask, **described[object_id])
    return result
