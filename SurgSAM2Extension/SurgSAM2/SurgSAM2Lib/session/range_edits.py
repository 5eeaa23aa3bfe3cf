"""Changes of masks and marks on a range of frames."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from surgsam2.errors import InputError
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.session.session import Session


def mark_absent(session: Session, objects: Collection[int], first: int, last: int) -> list[int]:
    """Say that objects are not visible from one frame to another.

    Their masks and prompts there are removed, and tracking writes no masks of them there. A
    new prompt on such a frame says that the object is visible after all.

    Args:
        session: the session of the video.
        objects: ids of the objects.
        first: first frame.
        last: last frame, which is included.

    Returns:
        The frames that were changed: those of the range that are not marked as good.

    Raises:
        InputError: a frame or an object does not exist, or all frames are good.
    """
    frames = _changeable(session, first, last)
    with session.changing(objects, frames):
        _empty(session, objects, frames)
        for object_id in objects:
            session.absent(object_id).add(frames)
    return frames


def erase(session: Session, objects: Collection[int], first: int, last: int) -> list[int]:
    """Remove masks and prompts of objects from one frame to another.

    Arguments, return value and errors are those of `mark_absent`.
    """
    frames = _changeable(session, first, last)
    with session.changing(objects, frames):
        _empty(session, objects, frames)
        for object_id in objects:
            session.absent(object_id).discard(frames)
    return frames


def copy_mask(session: Session, object_id: int, source: int, first: int, last: int) -> list[int]:
    """Give an object its mask of one frame on a range of frames.

    Args:
        session: the session of the video.
        object_id: id of the object.
        source: the frame with the mask to copy.
        first: first frame.
        last: last frame, which is included.

    Returns:
        The frames that were changed: those of the range that are not marked as good.

    Raises:
        InputError: the object has no mask on the frame, a frame or the object does not exist,
            or all frames are good.
    """
    frames = [frame for frame in _changeable(session, first, last) if frame != source]
    mask = session.masks.mask(session.video.check_frame(source), object_id)
    if not mask.any():
        raise InputError(
            _("{name} has no mask on frame {frame} to copy").format(
                name=session.objects[object_id].name, frame=source
            )
        )
    with session.changing([object_id], frames):
        for frame in frames:
            session.prompts.remove(object_id, frame)
            session.masks.write(frame, {object_id: mask})
        session.absent(object_id).discard(frames)
    return frames


def _changeable(session: Session, first: int, last: int) -> list[int]:
    first, last = sorted((session.video.check_frame(first), session.video.check_frame(last)))
    frames = [frame for frame in range(first, last + 1) if frame not in session.good]
    if not frames:
        raise InputError(_("all frames of this range are marked as good; they are not changed"))
    return frames


def _empty(session: Session, objects: Collection[int], frames: list[int]) -> None:
    nothing = np.zeros((session.video.height, session.video.width), bool)
    for frame in frames:
        for object_id in objects:
            session.prompts.remove(object_id, frame)
        session.masks.write(frame, dict.fromkeys(objects, nothing))
