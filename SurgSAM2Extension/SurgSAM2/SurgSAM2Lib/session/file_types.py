"""Which files are videos, for dialogs and for dropping files on Slicer."""

from __future__ import annotations

from SurgSAM2Lib.i18n import _

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv")

VIDEO_FILTER = ";;".join(
    [
        _("Videos") + " (" + " ".join(f"*{suffix}" for suffix in VIDEO_SUFFIXES) + ")",
        _("DICOM, NRRD and MHA sequences") + " (*.dcm *.nrrd *.nhdr *.mha *.mhd)",
        _("All files") + " (*)",
    ]
)
