"""The generated video in Slicer's module Sample Data."""

from __future__ import annotations

from typing import Any

import slicer

from SurgSAM2Lib.files.sample import NAME
from SurgSAM2Lib.i18n import _


def register_sample() -> None:
    """Offer the generated video in the module Sample Data, where there is one."""
    try:
        from SampleData import SampleDataLogic
    except ImportError:  # an application of its own without that module
        return
    SampleDataLogic.registerCustomSampleDataSource(
        category="SurgSAM2",
        sampleName=NAME,
        sampleDescription=_("Surgical video (generated)"),
        uris="",
        fileNames="",
        nodeNames=NAME,
        customDownloader=_load,
    )


def _load(_source: Any) -> list[Any]:
    """Load the video, and show it in the panel of SurgSAM2."""
    slicer.util.selectModule("SurgSAM2")
    panel = slicer.modules.SurgSAM2Widget
    panel.ui.sampleButton.click()
    return [] if panel.context.browser is None else [panel.context.browser]
