"""Real scenes, without a Slicer application."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

import surgsam2

if find_spec("slicer") is None:  # slicer-core has wheels for some systems only
    collect_ignore_glob = ["test_*.py"]
else:
    import slicer

    from surgsam2.mrml import MaskNodes, load_video

WIDTH, HEIGHT = 64, 48


@pytest.fixture
def a_scene():
    return slicer.vtkMRMLScene()


@pytest.fixture(scope="session")
def pixels():
    """Return noise, (6, 48, 64, 3) uint8."""
    return np.random.default_rng(3).integers(0, 256, (6, HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def a_video(a_scene, pixels):
    """Load `pixels` into `a_scene` at 30 frames per second."""
    with surgsam2.open_video(pixels, fps=30) as video:
        return load_video(a_scene, video, name="clip")


@pytest.fixture
def some_masks(a_video):
    """Create masks for `a_video` with objects 1 (liver) and 7 (grasper), nothing written yet."""
    masks = MaskNodes.create(a_video.scene, a_video)
    masks.add_object(1, "liver", "#e8c468")
    masks.add_object(7, "grasper", "#56b4e9")
    return masks


@pytest.fixture
def rectangle():
    """Return a function that makes (48, 64) masks with columns x0 to x1 - 1, rows y0 to y1 - 1."""

    def make(x0, y0, x1, y1):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[y0:y1, x0:x1] = True
        return mask

    return make


@pytest.fixture
def contents():
    """Return a function that describes everything in a scene, for comparisons."""

    def describe(scene):
        nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
        return sorted((node.GetID(), node.GetName(), node.GetMTime()) for node in nodes)

    return describe
