"""What the Red view shows of a video and its masks."""

import cv2
import numpy as np
import pytest

import surgsam2
from surgsam2.mrml import MaskNodes, load_video
from tests.mrml.render import red_view

GREY, RED, BLUE = (60, 60, 60), (200, 30, 30), (30, 30, 200)


@pytest.fixture
def a_picture(a_scene):
    """Red in the top-left corner, blue in the bottom-right one, with two objects."""
    frames = np.full((2, 100, 160, 3), 60, np.uint8)
    frames[:, :25, :40] = RED
    frames[:, 75:, 120:] = BLUE
    video = load_video(a_scene, surgsam2.open_video(frames))
    masks = MaskNodes.create(a_scene, video)
    masks.add_object(1, "top right", "#00ff00")
    masks.add_object(2, "bottom left", "#ffff00")
    first, second = np.zeros((2, 100, 160), bool)
    first[10:30, 100:150] = True
    second[60:90, 15:30] = True
    masks.write(0, {1: first, 2: second})
    return masks


def test_upright_with_objects_in_their_colours(a_picture):
    seen = red_view(a_picture.video.scene, a_picture.video.volume, 320, 200)
    assert tuple(seen[20, 20]) == RED
    assert tuple(seen[180, 300]) == BLUE
    assert tuple(seen[100, 160]) == GREY
    red, green, blue = seen[40, 250].astype(int)  # half green
    assert green > 2 * red
    assert green > 2 * blue
    red, green, blue = seen[150, 45].astype(int)  # half yellow
    assert red == green > 2 * blue


def test_masks_lie_on_their_pixels(a_picture):
    """With screen pixels as large as the frame's, the pixels of the mask change and no others."""
    video = a_picture.video
    with_masks = red_view(video.scene, video.volume, 160, 100)
    video.current_frame = 1
    without = red_view(video.scene, video.volume, 160, 100)
    changed = (with_masks != without).any(axis=2)
    drawn = (a_picture.mask(0, 1) | a_picture.mask(0, 2)).astype(np.uint8)
    # the outline is drawn on the border between pixels
    square = np.ones((3, 3), np.uint8)
    assert changed[cv2.erode(drawn, square) > 0].all()
    assert not changed[cv2.dilate(drawn, square) == 0].any()
