"""Loading videos into scenes."""

import cv2
import numpy as np
import pytest
import SimpleITK
import slicer

import surgsam2
from surgsam2.errors import InputError, VideoError
from surgsam2.mrml import load_video, memory_needed
from surgsam2.mrml.free_memory import free_memory


def test_frames_arrive_unchanged(a_video, pixels):
    assert (a_video.width, a_video.height, a_video.frame_count) == (64, 48, 6)
    assert a_video.fps == 30
    for k in range(6):
        assert np.array_equal(a_video.frame(k), pixels[k])
        assert a_video.frame_number(k) == k
        assert a_video.time_of(k) == pytest.approx(k / 30, abs=1e-6)


def test_range_and_stride_keep_numbers_times_and_speed(a_scene, pixels):
    nodes = load_video(a_scene, surgsam2.open_video(pixels, fps=30), start=1, stop=6, stride=2)
    assert [nodes.frame_number(k) for k in range(nodes.frame_count)] == [1, 3, 5]
    assert nodes.time_of(2) == pytest.approx(5 / 30, abs=1e-6)
    assert nodes.fps == 15
    assert np.array_equal(nodes.frame(1), pixels[3])


def test_scaling(a_scene, pixels):
    nodes = load_video(a_scene, surgsam2.open_video(pixels), scale=0.5)
    assert (nodes.width, nodes.height) == (32, 24)
    assert np.array_equal(nodes.frame(2), cv2.resize(pixels[2], (32, 24), interpolation=3))


def test_files_of_several_kinds(a_scene, pixels, tmp_path):
    for k, frame in enumerate(pixels):
        cv2.imwrite(str(tmp_path / f"{k}.png"), frame[:, :, ::-1])
    nodes = load_video(a_scene, surgsam2.open_video(tmp_path))
    assert np.array_equal(nodes.frame(4), pixels[4])
    assert nodes.name == tmp_path.name


def test_dicom_multi_frame(a_scene, pixels, tmp_path):
    path = tmp_path / "endoscopy.dcm"
    image = SimpleITK.GetImageFromArray(pixels, isVector=True)
    SimpleITK.WriteImage(image, str(path))
    with surgsam2.open_video(path) as video:
        nodes = load_video(a_scene, video, start=1, stride=2)
        assert nodes.fps == video.fps / 2
    assert (nodes.name, nodes.frame_count) == ("endoscopy", 3)
    assert [nodes.frame_number(k) for k in range(3)] == [1, 3, 5]
    for k in range(3):
        assert np.array_equal(nodes.frame(k), pixels[1 + 2 * k])
        nodes.current_frame = k
        assert np.array_equal(slicer.util.arrayFromVolume(nodes.volume)[0], pixels[1 + 2 * k])


@pytest.mark.parametrize("shape", [(3, 48, 64), (3, 48, 64, 4)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_grey_deep_and_transparent_images_become_rgb(a_scene, tmp_path, shape, kind):
    deep = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, kind)
    for k, frame in enumerate(deep):
        cv2.imwrite(str(tmp_path / f"{k}.png"), frame)
    with surgsam2.open_video(tmp_path) as video:
        nodes = load_video(a_scene, video)
        for k in range(3):
            assert nodes.frame(k).shape == (48, 64, 3)
            assert np.array_equal(nodes.frame(k), video[k])


def test_progress_of_every_frame(a_scene, pixels):
    seen = []
    load_video(
        a_scene,
        surgsam2.open_video(pixels),
        stride=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]


def test_stopping_leaves_the_scene_as_it_was(a_video, pixels, contents):
    before = contents(a_video.scene)
    video = surgsam2.open_video(pixels)
    assert load_video(a_video.scene, video, should_stop=lambda: True) is None
    assert contents(a_video.scene) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 6}, "no frames from 6 up to before 6"),
        ({"start": 3, "stop": 3}, "no frames from 3 up to before 3"),
        ({"start": -1}, "start must be a whole number of at least 0, got -1"),
        ({"stride": 0}, "stride must be a whole number of at least 1, got 0"),
        ({"stop": 2.5}, "stop must be a whole number"),
        ({"scale": 0}, "scale must be more than 0 and at most 1, got 0"),
        ({"scale": float("nan")}, "scale must be"),
        ({"limit": 200_000}, "need 0.0 GB of memory.*at most 1 frames"),
    ],
)
def test_refusals_leave_the_scene_as_it_was(a_video, pixels, contents, options, message):
    before = contents(a_video.scene)
    with pytest.raises(InputError, match=message):
        load_video(a_video.scene, surgsam2.open_video(pixels), **options)
    assert contents(a_video.scene) == before


def test_a_video_that_breaks_leaves_the_scene_as_it_was(a_video, pixels, contents):
    before = contents(a_video.scene)
    video = surgsam2.open_video(pixels)
    with pytest.raises(VideoError, match="closed"):
        load_video(a_video.scene, video, progress=lambda done, total: video.close())
    assert contents(a_video.scene) == before


def test_neither_scene_nor_video(a_scene, pixels):
    with pytest.raises(InputError, match="vtkMRMLScene is needed, got str"):
        load_video("scene", surgsam2.open_video(pixels))
    with pytest.raises(InputError, match="video of open_video is needed, got str"):
        load_video(a_scene, "clip.mp4")


def test_two_videos_in_one_scene(a_video, pixels):
    other = load_video(a_video.scene, surgsam2.open_video(pixels[:2]), name="clip")
    a_video.current_frame = 5
    other.current_frame = 1
    assert other.name != a_video.name
    assert (a_video.current_frame, other.current_frame) == (5, 1)
    other.remove()
    assert np.array_equal(a_video.frame(3), pixels[3])


def test_removing_a_video_removes_all_of_it(a_scene, some_masks, contents):
    some_masks.video.remove()
    rest = [a_scene.GetNthNode(i).GetClassName() for i in range(a_scene.GetNumberOfNodes())]
    assert set(rest) <= {"vtkMRMLSubjectHierarchyNode"}


def test_memory_is_that_of_the_pixels_and_little_more():
    pixels = 1280 * 720 * 3 * 100
    assert pixels < memory_needed(1280, 720, 100) < 1.1 * pixels
    assert memory_needed(1280, 720, 100, 0.5) < 0.3 * memory_needed(1280, 720, 100)
    assert free_memory() is None or free_memory() > 1e6


def test_scenes_can_go(pixels):
    scene = slicer.vtkMRMLScene()
    ended = []
    scene.AddObserver("DeleteEvent", lambda *_: ended.append(True))
    nodes = load_video(scene, surgsam2.open_video(pixels))
    del scene, nodes
    assert ended
