"""A run with known masks."""

from __future__ import annotations

import numpy as np
import pytest

from surgsam2.outputs import OutputContext
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult


class ARun:
    """A small video with objects whose masks are known rectangles.

    Object k covers columns 10k to 10k + 14 and rows 5 to 24, so neighbours overlap.
    """

    def __init__(self, ids=(1, 2), width=64, height=48, fps=25, names=None):
        self.width, self.height, self.ids = width, height, tuple(ids)
        prompts = PromptSet()
        for object_id, name in zip(ids, names or [None] * len(ids), strict=True):
            prompts.add(object_id=object_id, frame=0, points=[[1, 1, 1]], name=name)
        self.context = OutputContext(width, height, fps, prompts.objects, "a run")

    def frame(self, index=0):
        frame = np.full((self.height, self.width, 3), 90, np.uint8)
        frame[:, : 1 + index % self.width] = 60
        return frame

    def masks(self):
        masks = np.zeros((len(self.ids), self.height, self.width), bool)
        for k in range(len(self.ids)):
            masks[k, 5:25, 10 * k : 10 * k + 15] = True
        return masks

    def result(self, index=0, masks=None, ids=None):
        ids = self.ids if ids is None else ids
        masks = self.masks()[: len(ids)] if masks is None else masks
        n = len(ids)
        return FrameResult(
            index,
            tuple(ids),
            masks,
            np.linspace(0.9, 0.5, n).astype(np.float32),
            np.linspace(1, 0.25, n).astype(np.float32),
            milliseconds=12.5,
        )

    def nothing(self, index=0):
        return self.result(index, np.zeros((0, self.height, self.width), bool), ())


@pytest.fixture
def a_run():
    """Makes an `ARun`."""
    return ARun


@pytest.fixture
def a_full_disk(monkeypatch):
    """From its call on, files cannot be written or renamed: no space left on the device."""

    def fill():
        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.replace", full)
        return monkeypatch

    return fill
