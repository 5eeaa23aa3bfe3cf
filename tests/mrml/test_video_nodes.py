"""Videos in a scene, whoever loaded them."""

import numpy as np
import pytest
import slicer
import vtk
from hypothesis import given
from hypothesis import strategies as st
from vtk.util.numpy_support import numpy_to_vtk

from surgsam2.errors import InputError
from surgsam2.mrml import MaskNodes, open_video_nodes
from surgsam2.mrml.nodes import prepare_scene


def a_sequence(scene, frames, matrix=None, class_name="vtkMRMLVectorVolumeNode"):
    """Return a browser with a sequence as any module may make it, of (H, W, C) arrays."""
    prepare_scene(scene)
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "theirs")
    for k, frame in enumerate(frames):
        node = getattr(slicer, class_name)()
        image = vtk.vtkImageData()
        image.SetDimensions(frame.shape[1], frame.shape[0], 1)
        flat = np.ascontiguousarray(frame).reshape(-1, frame.shape[2])
        image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
        node.SetAndObserveImageData(image)
        if matrix is not None:
            node.SetIJKToRASMatrix(matrix)
        sequence.SetDataNodeAtValue(node, f"{k / 25:.3f}")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "theirs browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(0)
    return browser


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_videos_of_other_modules(a_scene, pixels, channels):
    theirs = np.concatenate([pixels, pixels], axis=3)[..., :channels]
    class_name = "vtkMRMLScalarVolumeNode" if channels == 1 else "vtkMRMLVectorVolumeNode"
    video = open_video_nodes(a_sequence(a_scene, theirs, class_name=class_name))
    frame = video.frame(2)
    assert frame.shape == (48, 64, 3)
    assert np.array_equal(frame, theirs[2][..., [0, 0, 0] if channels == 1 else [0, 1, 2]])
    assert video.frame_number(2) == 2
    assert video.time_of(2) == pytest.approx(2 / video.fps)


def test_frames_cannot_be_written_to(a_video):
    with pytest.raises(ValueError, match="read-only"):
        a_video.frame(0)[0, 0] = 0


def test_the_current_frame(a_video, pixels):
    a_video.current_frame = 4
    assert a_video.current_frame == 4
    image = slicer.util.arrayFromVolume(a_video.volume)
    assert np.array_equal(image[0], pixels[4])


@pytest.mark.parametrize("frame", [-1, 6, 1.5, None])
def test_frames_out_of_range(a_video, frame):
    for act in (a_video.frame, a_video.time_of, a_video.frame_number):
        with pytest.raises(InputError, match="6 frames, 0 to 5; there is no frame"):
            act(frame)
    with pytest.raises(InputError, match="there is no frame"):
        a_video.current_frame = frame
    assert a_video.current_frame == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda scene: None, "no sequence browser is chosen"),
        (lambda scene: "browser", "must be a vtkMRMLSequenceBrowserNode, got str"),
        (
            lambda scene: scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ct"),
            "got the vtkMRMLScalarVolumeNode 'ct'",
        ),
        (
            lambda scene: scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "b"),
            r"'b' has no video \(no sequences\)",
        ),
        (lambda scene: a_sequence(scene, []), "'theirs' is empty"),
        (
            lambda scene: a_sequence(scene, np.zeros((1, 4, 5, 3), np.int16)),
            "values are short; convert",
        ),
        (
            lambda scene: a_sequence(scene, np.zeros((1, 4, 5, 2), np.uint8)),
            "2 components, not 1, 3 or 4",
        ),
    ],
)
def test_nodes_without_a_video(a_scene, contents, make, message):
    prepare_scene(a_scene)
    node = make(a_scene)
    before = contents(a_scene)
    with pytest.raises(InputError, match=message):
        open_video_nodes(node)
    assert contents(a_scene) == before


def test_deleted_nodes_are_noticed(a_video, some_masks):
    browser, scene, sequence = a_video.browser, a_video.scene, a_video.sequence
    scene.RemoveNode(browser)
    for act in (lambda: a_video.fps, lambda: some_masks.proxy, lambda: open_video_nodes(browser)):
        with pytest.raises(InputError, match="'clip browser' was deleted"):
            act()
    scene.RemoveNode(sequence)
    with pytest.raises(InputError, match="video sequence 'clip' was deleted"):
        a_video.frame(0)


def a_matrix(spacing, origin, flips, angle):
    turn = vtk.vtkTransform()
    turn.RotateWXYZ(angle, 1, 2, 3)
    matrix = np.eye(4)
    rotation = np.array([[turn.GetMatrix().GetElement(i, j) for j in range(3)] for i in range(3)])
    matrix[:3, :3] = rotation @ np.diag(np.multiply(spacing, flips))
    matrix[:3, 3] = origin
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(matrix.ravel())
    return result


geometries = st.builds(
    a_matrix,
    st.tuples(*[st.floats(0.05, 20)] * 3),
    st.tuples(*[st.floats(-500, 500)] * 3),
    st.tuples(*[st.sampled_from([-1, 1])] * 3),
    st.floats(-180, 180),
)


@given(
    matrix=geometries,
    moved=geometries,
    x=st.floats(-0.5, 63.5),
    y=st.floats(-0.5, 47.5),
)
def test_pixels_to_space_and_back(matrix, moved, x, y):
    scene = slicer.vtkMRMLScene()
    video = open_video_nodes(a_sequence(scene, np.zeros((1, 48, 64, 3), np.uint8), matrix))
    place = matrix.MultiplyPoint((x, y, 0, 1))[:3]
    assert video.ras_of(x, y) == pytest.approx(place, abs=1e-3)
    assert video.pixel_of(place) == pytest.approx((x, y), abs=1e-3)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "patient")
    transform.SetMatrixTransformToParent(moved)
    video.volume.SetAndObserveTransformNodeID(transform.GetID())
    place = moved.MultiplyPoint((*place, 1))[:3]
    assert video.ras_of(x, y) == pytest.approx(place, abs=1e-3)
    assert video.pixel_of(place) == pytest.approx((x, y), abs=1e-2)


@given(matrix=geometries)
def test_masks_lie_on_the_video_wherever_it_is(matrix):
    scene = slicer.vtkMRMLScene()
    video = open_video_nodes(a_sequence(scene, np.zeros((2, 48, 64, 3), np.uint8), matrix))
    masks = MaskNodes.create(scene, video)
    masks.add_object(1, "one", "#ff0000")
    mask = np.zeros((48, 64), bool)
    mask[5:9, 11:20] = True
    masks.write(1, {1: mask})
    assert np.array_equal(masks.mask(1, 1), mask)
    image = masks.sequence.GetNthDataNode(1).GetSegmentation().GetNthSegment(0)
    world = vtk.vtkMatrix4x4()
    image.GetRepresentation("Binary labelmap").GetImageToWorldMatrix(world)
    for i in range(4):
        for j in range(4):
            assert world.GetElement(i, j) == pytest.approx(matrix.GetElement(i, j), abs=1e-6)


def test_a_closed_scene_is_noticed(a_video, some_masks):
    a_video.scene.Clear(0)
    for act in (lambda: a_video.frame(0), lambda: some_masks.write(0, {}), a_video.remove):
        with pytest.raises(InputError, match="was deleted"):
            act()
