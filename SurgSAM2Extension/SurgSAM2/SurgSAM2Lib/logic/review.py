"""Marks, exports and imports of the masks of the video in use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from surgsam2.errors import InputError
from SurgSAM2Lib.files.mask_export import EXPORT_FORMATS, export_results
from SurgSAM2Lib.files.mask_import import import_masks
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.logic.workspace import Workspace
from SurgSAM2Lib.session.range_edits import copy_masks, erase, interpolate, mark_absent


class ReviewActions:
    """Marks frames as good or bad, and moves masks between the scene and files.

    Args:
        workspace: the scene, session and engine to work with.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def mark_good(self, frames: int | Iterable[int], good: bool = True) -> None:
        """Protect frames from being changed by tracking, or end their protection.

        Good frames are not doubtful and not marked as bad.

        Raises:
            InputError: the video has no such frame.
        """
        session, chosen = self._workspace.current_session, _listed(frames)
        with session.changing([], []):
            (session.good.add if good else session.good.discard)(chosen)
            if good:
                session.bad.discard(chosen)

    def mark_bad(self, frames: int | Iterable[int], bad: bool = True) -> None:
        """List frames as doubtful whatever was measured, or take them off the list.

        Bad frames are not marked as good.

        Raises:
            InputError: the video has no such frame.
        """
        session, chosen = self._workspace.current_session, _listed(frames)
        with session.changing([], []):
            (session.bad.add if bad else session.bad.discard)(chosen)
            if bad:
                session.good.discard(chosen)

    def mark_absent(self, first: int, last: int, objects: Collection[int] | None = None) -> None:
        """Say that objects are not visible on a range; see `range_edits.mark_absent`."""
        self._workspace.refuse_while_tracking()
        mark_absent(self._workspace.current_session, self._chosen(objects), first, last)

    def erase(self, first: int, last: int, objects: Collection[int] | None = None) -> None:
        """Remove masks and prompts on a range of frames; see `range_edits.erase`."""
        self._workspace.refuse_while_tracking()
        erase(self._workspace.current_session, self._chosen(objects), first, last)

    def copy_masks(
        self, source: int, first: int, last: int, objects: Collection[int] | None = None
    ) -> None:
        """Copy the masks of one frame to a range of frames; see `range_edits.copy_masks`."""
        self._workspace.refuse_while_tracking()
        session = self._workspace.current_session
        copy_masks(session, self._chosen(objects), source, first, last)

    def interpolate(self, first: int, last: int, objects: Collection[int] | None = None) -> None:
        """Write masks between those of two frames; see `range_edits.interpolate`."""
        self._workspace.refuse_while_tracking()
        interpolate(self._workspace.current_session, self._chosen(objects), first, last)

    def export(
        self,
        folder: str | Path,
        formats: Iterable[str] = EXPORT_FORMATS,
        progress: Callable[[int, int], None] = lambda done, total: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Write the masks of the scene as files; see `SurgSAM2Lib.files.mask_export`."""
        session = self._workspace.current_session
        export_results(session, folder, formats, progress, should_stop)

    def import_masks(self, path: str | Path, as_prompts: bool = False) -> list[int]:
        """Read masks from label PNGs or a COCO file; see `SurgSAM2Lib.files.mask_import`."""
        self._workspace.refuse_while_tracking()
        return import_masks(self._workspace.current_session, path, as_prompts)

    def _chosen(self, objects: Collection[int] | None) -> Collection[int]:
        """Return some objects, or with None all that are not locked."""
        session = self._workspace.current_session
        if not len(session.objects):
            raise InputError(_("there is no object; add an object first"))
        return session.locks.unlocked() if objects is None else objects


def _listed(frames: int | Iterable[int]) -> list[int]:
    return [frames] if isinstance(frames, int) else list(frames)
