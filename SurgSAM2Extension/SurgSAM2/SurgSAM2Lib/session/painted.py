"""What the user paints with Segment Editor becomes prompts and objects."""

from __future__ import annotations

from SurgSAM2Lib.session.session import Session


def adopt_edits(session: Session) -> list[tuple[int, int]]:
    """Make prompts of the masks that were painted by hand.

    A mask that was erased completely gives no prompt, since it only says that the object is not
    visible.

    Args:
        session: the session of the video.

    Returns:
        The object ids and frames of the new prompts.
    """
    adopt_new_segments(session)
    adopted = []
    for frame in session.edited:
        for object_id in session.masks.edited(frame):
            if object_id not in session.locks and session.masks.mask(frame, object_id).any():
                session.set_mask(object_id, frame)
                adopted.append((object_id, frame))
    session.edited.clear()
    return adopted


def adopt_new_segments(session: Session) -> None:
    """Make objects of the segments that were added in Segment Editor on the shown frame."""
    for segment_id in session.masks.new_segments():
        session.masks.adopt(segment_id)
        session.edited.add([session.video.current_frame])
