"""What users do to the nodes elsewhere in Slicer."""

import numpy as np
import pytest
import slicer

import surgsam2
from surgsam2.errors import InputError
from surgsam2.mrml import MaskNodes, load_video, open_video_nodes
from surgsam2.mrml.styles import free_id


def add_segment(masks, segment_id, name="theirs"):
    segment = slicer.vtkSegment()
    segment.SetName(name)
    masks.proxy.GetSegmentation().AddSegment(segment, segment_id)
    return segment


def test_the_segmentation_that_is_shown_is_deleted(some_masks, rectangle):
    """The browser makes another one at once, which shows the masks; its edits are noticed."""
    some_masks.write(0, {1: rectangle(3, 3, 9, 9)})
    seen = []
    end = some_masks.on_edit(seen.append)
    some_masks.video.scene.RemoveNode(some_masks.proxy)
    assert np.array_equal(some_masks.mask(0, 1), rectangle(3, 3, 9, 9))
    some_masks.write(2, {1: rectangle(5, 5, 9, 9)})
    some_masks.video.current_frame = 2
    shown = some_masks.proxy.GetSegmentation()
    assert shown is some_masks.sequence.GetNthDataNode(2).GetSegmentation()
    assert not some_masks.proxy.GetDisplayNode().GetVisibility3D()
    reference = some_masks.proxy.GetNodeReference("referenceImageGeometryRef")
    assert reference is some_masks.video.volume
    seen.clear()
    add_segment(some_masks, "theirs")
    assert set(seen) == {2}
    seen.clear()
    end()
    add_segment(some_masks, "another")
    assert seen == []


def test_the_volume_that_is_shown_is_deleted(a_video, pixels):
    a_video.scene.RemoveNode(a_video.volume)
    a_video.current_frame = 3
    assert np.array_equal(a_video.frame(3), pixels[3])
    assert np.array_equal(slicer.util.arrayFromVolume(a_video.volume)[0], pixels[3])


@pytest.mark.parametrize("delete", ["browser", "sequence", "scene"])
def test_deleted_nodes_are_no_edits_and_give_a_message(some_masks, rectangle, delete):
    video = some_masks.video
    seen = []
    end = some_masks.on_edit(seen.append)
    some_masks.write(0, {1: rectangle(3, 3, 9, 9)})
    scene = video.scene
    if delete == "scene":
        scene.Clear(False)
    else:
        scene.RemoveNode(getattr(some_masks if delete == "sequence" else video, delete))
    assert seen == []
    for act in (lambda: some_masks.proxy, lambda: some_masks.on_edit(seen.append)):
        with pytest.raises(InputError, match="was deleted"):
            act()
    end()


def test_a_user_segment_with_the_id_of_an_object_is_kept(some_masks, rectangle):
    theirs = add_segment(some_masks, "Object_9")
    some_masks.add_object(9, "clip", "#00ff00")
    assert some_masks.proxy.GetSegmentation().GetSegment("Object_9") is theirs
    assert some_masks.new_segments() == ["Object_9"]
    some_masks.write(0, {9: rectangle(1, 1, 3, 3)})
    assert np.array_equal(some_masks.mask(0, 9), rectangle(1, 1, 3, 3))
    some_masks.remove_object(9)
    assert some_masks.proxy.GetSegmentation().GetSegment("Object_9") is theirs


def test_adopting_beside_a_user_segment_with_the_next_id(some_masks):
    add_segment(some_masks, "x")
    add_segment(some_masks, "Object_8")
    assert some_masks.adopt("x") == 8
    ids = some_masks.proxy.GetSegmentation().GetSegmentIDs()
    assert len(ids) == len(set(ids)) == 4
    assert some_masks.new_segments() == ["Object_8"]
    assert some_masks.adopt("Object_8") == 9


def test_adopting_after_the_largest_id(some_masks):
    some_masks.add_object(65535, "last", "#000000")
    add_segment(some_masks, "theirs")
    assert some_masks.adopt("theirs") == 2
    assert some_masks.new_segments() == []


def test_the_next_id():
    assert free_id([]) == 1
    assert free_id([4, 2]) == 5
    assert free_id([65535, 1]) == 2
    with pytest.raises(InputError, match="65535 objects already"):
        free_id(range(1, 65536))


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("  ", "object 1"),
        ("", "object 1"),
        ("a\nb\t c", "a b c"),
        ("x" * 300, "x" * 200),
        ("a\u200cb", "a\u200cb"),  # joiners are part of some languages
    ],
)
def test_any_name_can_be_typed(some_masks, typed, stored):
    some_masks.proxy.GetSegmentation().GetSegment("Object_1").SetName(typed)
    assert some_masks.style_changed()
    some_masks.copy_style_to_all_frames()
    assert not some_masks.style_changed()
    assert some_masks.objects[0].name == stored


def test_surfaces_of_earlier_masks_go(some_masks, rectangle):
    """Segment Editor's "Show 3D" makes surfaces."""
    some_masks.write(0, {1: rectangle(3, 3, 9, 9)})
    segmentation = some_masks.proxy.GetSegmentation()
    assert segmentation.CreateRepresentation("Closed surface")
    some_masks.write(0, {1: rectangle(20, 20, 30, 30)})
    assert not segmentation.ContainsRepresentation("Closed surface")
    assert some_masks.edited(0) == ()


def test_playback_stopped_by_the_user_has_times(a_scene, pixels):
    video = load_video(a_scene, surgsam2.open_video(pixels, fps=30))
    video.sequence.RemoveAttribute("surgsam2.times")
    video.browser.SetPlaybackRateFps(0)
    assert open_video_nodes(video.browser).time_of(5) == 5 / 25


def test_one_pixel(a_scene):
    video = load_video(a_scene, surgsam2.open_video(np.full((3, 1, 1, 3), 7, np.uint8)))
    masks = MaskNodes.create(a_scene, video)
    masks.add_object(65535, "dot", "#ffffff")
    masks.write(1, {65535: np.ones((1, 1), bool)})
    assert [masks.has_masks(k) for k in range(3)] == [False, True, False]
    assert video.frame(2).tolist() == [[[7, 7, 7]]]


def test_frames_deleted_from_the_video(some_masks, rectangle):
    """Masks belong to the index value, not to the position."""
    some_masks.write(4, {1: rectangle(3, 3, 9, 9)})
    some_masks.video.sequence.RemoveDataNodeAtValue("2")
    assert some_masks.video.frame_count == 5
    assert np.array_equal(some_masks.mask(3, 1), rectangle(3, 3, 9, 9))
    some_masks.write(2, {7: rectangle(1, 1, 3, 3)})
    assert some_masks.tracked_frames == [2, 3]
    with pytest.raises(InputError, match="no frame 5"):
        some_masks.write(5, {})


def test_a_segment_that_the_user_deleted_on_one_frame(some_masks, rectangle):
    some_masks.write(1, {1: rectangle(3, 3, 9, 9)})
    some_masks.video.current_frame = 1
    some_masks.proxy.GetSegmentation().RemoveSegment("Object_1")
    assert not some_masks.mask(1, 1).any()
    assert [style.id for style in some_masks.objects] == [1, 7]
    some_masks.copy_style_to_all_frames()
    some_masks.write(1, {1: rectangle(4, 4, 8, 8)})
    assert np.array_equal(some_masks.mask(1, 1), rectangle(4, 4, 8, 8))


def test_a_segment_that_the_user_added(some_masks, rectangle):
    some_masks.video.current_frame = 3
    segment = slicer.vtkSegment()
    segment.SetName("clip")
    segment.SetColor(1, 0, 0)
    some_masks.proxy.GetSegmentation().AddSegment(segment, "theirs")
    assert some_masks.new_segments() == ["theirs"]
    object_id = some_masks.adopt("theirs")
    assert (object_id, some_masks.new_segments()) == (8, [])
    assert some_masks.objects[-1].name == "clip"
    assert some_masks.objects[-1].color == "#ff0000"
    some_masks.write(5, {8: rectangle(1, 1, 3, 3)})
    assert np.array_equal(some_masks.mask(5, 8), rectangle(1, 1, 3, 3))
    with pytest.raises(InputError, match="'nothing' is not a new segment on frame 3; new are: no"):
        some_masks.adopt("nothing")


def test_a_copy_of_a_segment_is_a_new_one(some_masks, rectangle):
    some_masks.write(0, {1: rectangle(3, 3, 9, 9)})
    segmentation = some_masks.proxy.GetSegmentation()
    copy = slicer.vtkSegment()
    copy.DeepCopy(segmentation.GetSegment("Object_1"))
    segmentation.AddSegment(copy, "A copy")  # sorts before ours
    assert some_masks.new_segments() == ["A copy"]
    assert some_masks.adopt("A copy") == 8
    assert np.array_equal(some_masks.mask(0, 8), rectangle(3, 3, 9, 9))
    assert some_masks.edited(0) == (8,)


def test_a_frame_whose_item_was_removed(some_masks, rectangle):
    some_masks.write(1, {1: rectangle(3, 3, 9, 9)})
    some_masks.sequence.RemoveDataNodeAtValue("2")
    for frame in (1, 2, 3):
        some_masks.video.current_frame = frame
    assert not some_masks.has_masks(2)
    some_masks.write(2, {7: rectangle(1, 1, 4, 4)})
    assert np.array_equal(some_masks.mask(2, 7), rectangle(1, 1, 4, 4))
    assert [k for k in range(6) if some_masks.has_masks(k)] == [1, 2]


def test_a_deleted_segmentation_is_noticed(some_masks):
    some_masks.video.scene.RemoveNode(some_masks.sequence)
    with pytest.raises(InputError, match="mask sequence 'Segmentation' was deleted"):
        some_masks.write(0, {})
