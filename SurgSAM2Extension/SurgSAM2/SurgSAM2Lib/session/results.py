"""Writing the masks that the engine or a file gives into the scene."""

from __future__ import annotations

import numpy as np

from surgsam2.results.frame_result import FrameResult
from SurgSAM2Lib.session.history import Step
from SurgSAM2Lib.session.session import Session


def write_result(
    session: Session,
    result: FrameResult,
    overwrite_good: bool = False,
    undo: Step | None = None,
) -> None:
    """Write the masks of a result.

    Good frames, locked objects, masks that are prompts and masks that were painted since the
    track began are not changed, and no mask is written where the user said that an object is
    not visible.

    Args:
        session: the session of the video.
        result: the masks of one frame.
        overwrite_good: whether to write over a good frame too.
        undo: takes the masks that are replaced. Changes that the user made since then are undone
            to the masks of the result.
    """
    frame = result.frame_index
    if frame in session.good and not overwrite_good:
        return
    prompted = session.prompts.on_frame(frame)
    kept = {i: p.mask for i, p in prompted.items() if p.mask is not None}
    painted = session.masks.edited(frame) if frame in session.edited else ()
    free = {style.id for style in session.objects if style.id not in session.locks} - set(painted)
    written = {}
    for object_id, mask in zip(result.object_ids, result.masks, strict=True):
        if object_id not in free:
            continue
        visible = frame not in session.absent(object_id)
        tracked = mask if visible else np.zeros_like(mask)
        written[object_id] = kept.get(object_id, tracked)
        if undo is not None:
            undo.keep(frame, object_id, session.masks.mask(frame, object_id))
            session.history.replace_since(undo, frame, object_id, tracked)
    session.masks.write(frame, written)
    session.review.observe(result, written)


def show_preview(session: Session, frame: int, masks: dict[int, np.ndarray]) -> None:
    """Write the masks that points and boxes of a frame give, (H, W) bool by object id."""
    prompted = session.prompts.on_frame(frame)
    wanted = {i for i, p in prompted.items() if p.mask is None and i not in session.locks}
    session.masks.write(frame, {i: m for i, m in masks.items() if i in wanted})
    session.review.measure(frame)
