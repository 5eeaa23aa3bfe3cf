"""Changes of masks and marks on a range of frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from surgsam2.errors import InputError
from surgsam2.results.interpolation import interpolate_masks
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


def copy_masks(
    session: Session, objects: Collection[int], source: int, first: int, last: int
) -> list[int]:
    """Give objects their masks of one frame on a range of frames.

    Args:
        session: the session of the video.
        objects: ids of the objects. Those without a mask on the frame keep their masks.
        source: the frame with the masks to copy.
        first: first frame.
        last: last frame, which is included.

    Returns:
        The frames that were changed: those of the range that are not marked as good.

    Raises:
        InputError: no object has a mask on the frame, a frame or an object does not exist, or all
            frames are good.
    """
    frames = [frame for frame in _changeable(session, first, last) if frame != source]
    masks = {i: session.masks.mask(session.video.check_frame(source), i) for i in objects}
    masks = {object_id: mask for object_id, mask in masks.items() if mask.any()}
    if not masks:
        names = ", ".join(session.objects[object_id].name for object_id in objects)
        raise InputError(
            _("{name} has no mask on frame {frame} to copy").format(name=names, frame=source)
        )
    _put(session, {frame: masks for frame in frames})
    return frames


def interpolate(session: Session, objects: Collection[int], first: int, last: int) -> list[int]:
    """Give objects masks between those of two frames; see `interpolate_masks`.

    Args:
        session: the session of the video.
        objects: ids of the objects. Those without a mask on both frames keep their masks.
        first: the frame with the first masks.
        last: the frame with the last masks.

    Returns:
        The frames that were changed: those between the two that are not marked as good.

    Raises:
        InputError: no object has a mask on both frames, there is no frame between them, a frame
            or an object does not exist, or all frames between them are good.
    """
    first, last = sorted((session.video.check_frame(first), session.video.check_frame(last)))
    if last - first < 2:
        raise InputError(
            _("there is no frame between {first} and {last}; select more frames").format(
                first=first, last=last
            )
        )
    ends = {i: [session.masks.mask(frame, i) for frame in (first, last)] for i in objects}
    ends = {i: pair for i, pair in ends.items() if all(mask.any() for mask in pair)}
    if not ends:
        names = ", ".join(session.objects[object_id].name for object_id in objects)
        raise InputError(
            _(
                "{name} has no masks on both frames {first} and {last}; correct or paint it on both"
            ).format(name=names, first=first, last=last)
        )
    frames = _changeable(session, first + 1, last - 1)
    _put(
        session,
        {
            frame: {
                i: interpolate_masks(pair[0], pair[1], (frame - first) / (last - first))
                for i, pair in ends.items()
            }
            for frame in frames
        },
    )
    return frames


def _put(session: Session, masks: Mapping[int, Mapping[int, np.ndarray]]) -> None:
    """Write masks by frame and object id, in place of prompts there."""
    objects = {object_id for on_frame in masks.values() for object_id in on_frame}
    with session.changing(objects, list(masks)):
        for frame, on_frame in masks.items():
            for object_id in on_frame:
                session.prompts.remove(object_id, frame)
            session.masks.write(frame, on_frame)
        for object_id in objects:
            session.absent(object_id).discard(masks)


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
