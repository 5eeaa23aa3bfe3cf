"""What a project holds at one moment, for a thread that reads it while the project changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surgsam2.annotate.label_images import LabelImages
from surgsam2.annotate.states import AnnotatedObject, ObjectTimeline
from surgsam2.prompts import Prompt


@dataclass(frozen=True)
class ProjectView:
    """The objects of a project as they were when `Project.view` made it.

    The label images are read from their files, so an image that is written later is the new one.
    """

    folder: Path
    objects: Mapping[int, AnnotatedObject]
    prompts: Mapping[int, Mapping[int, Prompt]]
    timelines: Mapping[int, ObjectTimeline]
    images: LabelImages
    """Read by the thread of the view alone."""

    def labels(self, frame: int) -> np.ndarray:
        """Return the (H, W) uint16 object ids of a frame; see `Project.labels`."""
        return self.images.read(frame)
