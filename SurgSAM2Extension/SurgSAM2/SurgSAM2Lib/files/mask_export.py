"""Export of the masks in the scene with the writers in `surgsam2.outputs`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from surgsam2.errors import InputError, MissingDependencyError
from surgsam2.prompts import Prompt, PromptedObject
from surgsam2.results.frame_result import FrameResult
from SurgSAM2Lib.i18n import _

if TYPE_CHECKING:
    from surgsam2.outputs import OutputContext
    from SurgSAM2Lib.session.session import Session

EXPORT_FORMATS = ("png", "coco", "overlay", "csv")
"""The formats are label images, a COCO file, an overlay video and a table, in this order."""


def export_results(
    session: Session,
    folder: str | Path,
    formats: Iterable[str] = EXPORT_FORMATS,
    progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Write every frame that has masks, whether they were tracked, painted or imported.

    Files count frames as the scene does, from 0. Scores are those of the review; a mask
    that has none gets NaN.

    Args:
        session: the video, objects and masks.
        folder: folder to make. It may exist when it holds an earlier export and nothing else.
        formats: some of `EXPORT_FORMATS`.
        progress: called with the number of frames done and the number in all.
        should_stop: asked after each frame. A stopped export keeps the marker file
            ``INCOMPLETE`` in the folder.

    Raises:
        InputError: there is nothing to export, or a format is unknown.
        OutputError: the folder cannot be used, or writing failed.
        MissingDependencyError: a package that writes the files is not installed.
    """
    frames = frames_with_masks(session)
    if not frames:
        raise InputError(_("there are no masks to export; track an object or paint one first"))
    try:
        from surgsam2.outputs import OutputSet, finish_output, prepare_output

        context = _context(session, frames)
        with OutputSet(prepare_output(folder), list(formats), context) as outputs:
            for done, frame in enumerate(frames, 1):
                outputs.write(session.video.frame(frame), result_of(session, frame, context))
                progress(done, len(frames))
                if done < len(frames) and should_stop():
                    return
        finish_output(Path(folder))
    except ImportError as error:
        raise MissingDependencyError(
            _(
                "this cannot be exported yet: the Python package {package} is missing. Press "
                "'Install...' at the top of the panel."
            ).format(package=error.name)
        ) from error


def frames_with_masks(session: Session) -> list[int]:
    """Return the indices of the frames that were tracked, painted or imported, in ascending order.

    A tracked frame counts even if no object is visible on it.
    """
    masks = session.masks
    tracked = set(masks.tracked_frames)
    return [k for k in range(session.video.frame_count) if k in tracked or masks.has_masks(k)]


def result_of(session: Session, frame: int, context: OutputContext) -> FrameResult:
    """Return the masks and scores of a frame in the form in which the tracker returns them.

    Args:
        session: the objects, masks and review.
        frame: index of the frame.
        context: its objects set which masks are returned, and in which order.
    """
    ids = tuple(item.id for item in context.objects)
    measured = session.review.measurements
    scores = {
        name: np.array([measured.of(object_id, name)[frame] for object_id in ids], np.float32)
        for name in ("iou", "presence")
    }
    masks = np.stack([session.masks.mask(frame, object_id) for object_id in ids])
    return FrameResult(frame, ids, masks, scores["iou"], scores["presence"])


def _context(session: Session, frames: list[int]) -> OutputContext:
    """Return the video and the objects for the writers; objects without any mask are left out."""
    from surgsam2.outputs import OutputContext

    video = session.video
    prompted = {item.id: item for item in session.prompt_set()}
    objects = []
    for style, object_class in session.classes.of_objects().items():
        item = prompted.get(style.id)
        if item is None:  # it was painted or imported; its first mask stands for its prompt
            masks = ((k, session.masks.mask(k, style.id)) for k in frames)
            first = next(((k, mask) for k, mask in masks if mask.any()), None)
            if first is None:
                continue
            prompt = Prompt(first[0], mask=first[1])
            item = PromptedObject(style.id, style.name, style.color, (prompt,), object_class)
        objects.append(item)
    if not objects:
        raise InputError(_("there are no masks to export; track an object or paint one first"))
    return OutputContext(
        video.width, video.height, video.fps, tuple(objects), video.name, video.frame_count
    )
