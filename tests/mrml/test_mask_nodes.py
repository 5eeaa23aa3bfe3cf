"""Masks as segments of a sequence."""

import numpy as np
import pytest
import slicer
import vtk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import surgsam2
from surgsam2.errors import InputError
from surgsam2.mrml import MaskNodes, ObjectStyle, load_video, open_mask_nodes


def edited_by_hand(masks, object_id, mask):
    """Set a segment of the shown node, as Segment Editor does."""
    height, width = mask.shape
    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, width - 1, 0, height - 1, 0, 0)
    image.SetGeometryFromImageToWorldMatrix(masks.video.ijk_to_ras)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    values = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    values[:] = mask.ravel()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    assert logic.SetBinaryLabelmapToSegment(image, masks.proxy, masks.segment_id(object_id), 0)


def test_masks_come_back(some_masks, rectangle):
    liver, grasper = rectangle(0, 0, 64, 20), rectangle(60, 20, 64, 48)
    some_masks.write(2, {1: liver, 7: grasper})
    assert np.array_equal(some_masks.mask(2, 1), liver)
    assert np.array_equal(some_masks.mask(2, 7), grasper)
    assert some_masks.tracked_frames == [2]
    assert [some_masks.has_masks(k) for k in range(6)] == [False, False, True, False, False, False]


def test_objects_not_named_keep_their_mask(some_masks, rectangle):
    some_masks.write(0, {1: rectangle(5, 5, 30, 30)})
    some_masks.write(0, {7: rectangle(20, 20, 40, 40)})
    assert np.array_equal(some_masks.mask(0, 1), rectangle(5, 5, 30, 30))
    assert np.array_equal(some_masks.mask(0, 7), rectangle(20, 20, 40, 40))


@pytest.fixture(scope="module")
def four_objects():
    scene = slicer.vtkMRMLScene()
    video = load_video(scene, surgsam2.open_video(np.zeros((3, 11, 13, 3), np.uint8)))
    masks = MaskNodes.create(scene, video)
    for object_id in (1, 2, 300, 65535):
        masks.add_object(object_id, f"object {object_id}", "#00ff00")
    return masks


@given(
    pixels=arrays(bool, (4, 11, 13)),
    kept=arrays(bool, (4, 1, 1)),
    frame=st.integers(0, 2),
    shown=st.integers(0, 2),
)
def test_any_masks_come_back(four_objects, pixels, kept, frame, shown):
    four_objects.video.current_frame = shown
    pixels = pixels & kept
    ids = [style.id for style in four_objects.objects]
    four_objects.write(frame, dict(zip(ids, pixels, strict=True)))
    four_objects.video.current_frame = frame
    for object_id, mask in zip(ids, pixels, strict=True):
        assert np.array_equal(four_objects.mask(frame, object_id), mask)
    assert four_objects.edited(frame) == ()


def test_browsing_carries_no_mask_to_another_frame(some_masks, rectangle):
    some_masks.write(1, {1: rectangle(3, 3, 9, 9)})
    for frame in (1, 2, 3, 0, 1, 5, 4, 1):
        some_masks.video.current_frame = frame
        assert some_masks.video.current_frame == frame
    assert [k for k in range(6) if some_masks.has_masks(k)] == [1]
    assert some_masks.sequence.GetNumberOfDataNodes() == 6


def test_writing_the_frame_that_is_shown_is_seen(some_masks, rectangle):
    some_masks.video.current_frame = 3
    seen = []
    some_masks.proxy.AddObserver(
        slicer.vtkSegmentation.SegmentModified, lambda *_: seen.append(True)
    )
    some_masks.write(3, {1: rectangle(3, 3, 9, 9)})
    assert seen
    shown = some_masks.proxy.GetSegmentation().GetSegment("Object_1")
    assert shown.GetRepresentation("Binary labelmap").GetExtent() == (3, 8, 3, 8, 0, 0)


def test_the_grid_is_that_of_the_video(some_masks):
    for frame in (0, 5):
        segmentation = some_masks.sequence.GetNthDataNode(frame).GetSegmentation()
        name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        image = slicer.vtkOrientedImageData()
        slicer.vtkSegmentationConverter.DeserializeImageGeometry(
            segmentation.GetConversionParameter(name), image
        )
        assert image.GetExtent() == (0, 63, 0, 47, 0, 0)
    reference = some_masks.proxy.GetNodeReference("referenceImageGeometryRef")
    assert reference is some_masks.video.volume


def test_hand_edits_are_read_and_told_apart(some_masks, rectangle):
    written, painted = rectangle(3, 3, 9, 9), rectangle(5, 5, 30, 40)
    some_masks.write(2, {1: written, 7: rectangle(50, 3, 60, 9)})
    some_masks.video.current_frame = 2
    seen = []
    end = some_masks.on_edit(seen.append)
    some_masks.write(2, {1: written})
    assert seen == []
    edited_by_hand(some_masks, 1, painted)
    assert set(seen) == {2}
    for frame in (0, 2):
        some_masks.video.current_frame = frame
    assert np.array_equal(some_masks.mask(2, 1), painted)
    assert np.array_equal(some_masks.mask(2, 7), rectangle(50, 3, 60, 9))
    assert some_masks.edited(2) == (1,)
    some_masks.write(2, {1: painted})
    assert some_masks.edited(2) == ()
    seen.clear()
    end()
    edited_by_hand(some_masks, 1, written)
    assert seen == []


def test_browsing_is_no_edit(some_masks, rectangle):
    some_masks.write(1, {1: rectangle(3, 3, 9, 9)})
    seen = []
    some_masks.on_edit(seen.append)
    for frame in (1, 0, 5, 1):
        some_masks.video.current_frame = frame
    assert seen == []


def test_painting_on_a_frame_that_was_never_tracked(some_masks, rectangle):
    some_masks.video.current_frame = 4
    edited_by_hand(some_masks, 7, rectangle(5, 5, 30, 40))
    assert some_masks.edited(4) == (7,)
    assert some_masks.has_masks(4)
    assert some_masks.tracked_frames == []
    some_masks.write(4, {1: rectangle(0, 0, 5, 5)})
    assert np.array_equal(some_masks.mask(4, 7), rectangle(5, 5, 30, 40))


def test_names_and_colours_reach_every_frame(some_masks):
    some_masks.video.current_frame = 2
    assert not some_masks.style_changed()
    segment = some_masks.proxy.GetSegmentation().GetSegment("Object_1")
    segment.SetName("gallbladder; 50% : ü")
    segment.SetColor(0, 1, 0)
    segment.SetTag(segment.GetTerminologyEntryTagName(), "a~b^c^d~e~f~g~h~i")
    assert some_masks.style_changed()
    some_masks.copy_style_to_all_frames()
    assert not some_masks.style_changed()
    assert some_masks.objects[0] == ObjectStyle(
        1, "gallbladder; 50% : ü", "#00ff00", "a~b^c^d~e~f~g~h~i"
    )
    for frame in range(6):
        some_masks.video.current_frame = frame
        assert not some_masks.style_changed()


def test_objects_come_and_go(some_masks, rectangle):
    some_masks.write(1, {1: rectangle(3, 3, 9, 9), 7: rectangle(5, 5, 20, 20)})
    some_masks.remove_object(1)
    assert [style.id for style in some_masks.objects] == [7]
    assert np.array_equal(some_masks.mask(1, 7), rectangle(5, 5, 20, 20))
    some_masks.add_object(1, "liver again", "#000000")
    assert not some_masks.mask(1, 1).any()


def test_clearing_a_frame(some_masks, rectangle):
    some_masks.write(1, {1: rectangle(3, 3, 9, 9)})
    some_masks.clear(1)
    assert not some_masks.has_masks(1)
    assert some_masks.tracked_frames == []
    assert some_masks.edited(1) == ()


def test_an_absent_object_was_tracked_all_the_same(some_masks, rectangle):
    some_masks.write(1, {1: rectangle(0, 0, 0, 0)})
    assert some_masks.tracked_frames == [1]
    assert not some_masks.has_masks(1)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda m: m.write(6, {}), "there is no frame 6"),
        (lambda m: m.write(0, {2: np.zeros((48, 64), bool)}), "no object 2; objects are: 1, 7"),
        (
            lambda m: m.write(0, {1: np.zeros((64, 48), bool)}),
            r"frame 0, object 1: the mask must be \(48, 64\) bool, got \(64, 48\) bool",
        ),
        (lambda m: m.write(0, {1: np.zeros((48, 64))}), r"got \(48, 64\) float64"),
        (lambda m: m.write(0, {1: None}), "got nothing"),
        (lambda m: m.mask(-1, 1), "there is no frame -1"),
        (lambda m: m.mask(0, 3), "no object 3"),
        (lambda m: m.remove_object(3), "no object 3"),
        (lambda m: m.segment_id("1"), "no object '1'"),
        (lambda m: m.add_object(1, "liver", "#000000"), "an object 1 already"),
        (lambda m: m.add_object(0, "liver", "#000000"), "from 1 to 65535, got 0"),
        (lambda m: m.add_object(2, " ", "#000000"), "the name must be text"),
        (lambda m: m.add_object(2, "a", "red"), "the color must look like '#e8c468', got 'red'"),
        (lambda m: m.add_object(2, "a", "#000000", 5), "terminology must be text, got 5"),
        (lambda m: MaskNodes.create(m.video.scene, m.video), "has masks already"),
        (
            lambda m: MaskNodes.create(slicer.vtkMRMLScene(), m.video),
            "'clip' is not in this scene",
        ),
    ],
)
def test_refusals_change_nothing(some_masks, rectangle, contents, act, message):
    some_masks.write(0, {1: rectangle(3, 3, 9, 9)})
    before = contents(some_masks.video.scene)
    with pytest.raises(InputError, match=message):
        act(some_masks)
    assert contents(some_masks.video.scene) == before
    assert np.array_equal(some_masks.mask(0, 1), rectangle(3, 3, 9, 9))


def test_finding_the_masks_of_a_browser(some_masks, a_scene, pixels):
    again = open_mask_nodes(some_masks.video.browser)
    assert again.objects == some_masks.objects
    other = load_video(a_scene, surgsam2.open_video(pixels))
    assert MaskNodes.exists(some_masks.video.browser)
    assert not MaskNodes.exists(other.browser)
    with pytest.raises(InputError, match="has no masks of this program"):
        open_mask_nodes(other.browser)


def test_masks_of_segments_from_another_grid(some_masks):
    """A segment copied from a segmentation with twice the spacing and a shifted corner."""
    segment = some_masks.proxy.GetSegmentation().GetSegment("Object_1")
    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, 3, 0, 2, 0, 0)
    matrix = vtk.vtkMatrix4x4()
    for row, value in enumerate((-2, -2, 1)):
        matrix.SetElement(row, row, value)
    matrix.SetElement(0, 3, -10.5)  # its pixels cover columns 10 to 17, rows 20 to 25
    matrix.SetElement(1, 3, -20.5)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.GetPointData().GetScalars().Fill(5)
    segment.SetLabelValue(5)
    segment.AddRepresentation("Binary labelmap", image)
    rows, columns = np.nonzero(some_masks.mask(0, 1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 25, 10, 17)
    assert len(rows) == 8 * 6


def test_parts_outside_the_frame_are_cut(some_masks, rectangle):
    segment = some_masks.proxy.GetSegmentation().GetSegment("Object_1")
    image = slicer.vtkOrientedImageData()
    image.SetExtent(-5, 70, 40, 60, 0, 0)
    image.SetGeometryFromImageToWorldMatrix(some_masks.video.ijk_to_ras)
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    image.GetPointData().GetScalars().Fill(1)
    segment.AddRepresentation("Binary labelmap", image)
    assert np.array_equal(some_masks.mask(0, 1), rectangle(0, 40, 64, 48))
