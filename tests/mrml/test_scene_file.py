"""Scenes that are saved and loaded again."""

import numpy as np
import pytest
import slicer

import surgsam2
from surgsam2.errors import InputError, OutputError
from surgsam2.mrml import (
    MaskNodes,
    add_points,
    load_scene,
    load_video,
    open_mask_nodes,
    points_of,
    save_scene,
)


@pytest.fixture
def reloaded(tmp_path):
    """Save a scene and return the masks of its first browser in a new one."""

    def reload(scene):
        save_scene(scene, tmp_path / "saved.mrb")
        other = slicer.vtkMRMLScene()
        load_scene(other, tmp_path / "saved.mrb")
        return open_mask_nodes(other.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"))

    return reload


def test_everything_comes_back(some_masks, rectangle, pixels, reloaded):
    video = some_masks.video
    some_masks.add_object(300, 'Gallenblase; "ü" 50% | a:b', "#010203", "a~b^c^d~e^f^g~^^~x~^^~^^")
    some_masks.write(1, {1: rectangle(0, 0, 9, 9), 7: rectangle(5, 5, 64, 48)})
    some_masks.write(4, {300: rectangle(63, 47, 64, 48)})
    points = video.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "tips")
    add_points(points, video, [[12, 13]])
    again = reloaded(video.scene)
    assert again.objects == some_masks.objects
    assert again.tracked_frames == [1, 4]
    assert (again.video.fps, again.video.frame_count) == (30, 6)
    for k in range(6):
        again.video.current_frame = k
        assert np.array_equal(again.video.frame(k), pixels[k])
        assert again.video.time_of(k) == video.time_of(k)
        assert again.edited(k) == ()
        for style in some_masks.objects:
            assert np.array_equal(again.mask(k, style.id), some_masks.mask(k, style.id))
    tips = again.video.scene.GetFirstNodeByName("tips")
    assert points_of(tips, again.video) == pytest.approx(np.array([[12, 13]]))


def test_work_goes_on_after_loading(some_masks, rectangle, reloaded):
    some_masks.write(1, {1: rectangle(0, 0, 9, 9)})
    again = reloaded(some_masks.video.scene)
    again.write(1, {7: rectangle(2, 2, 20, 20)})
    again.write(5, {1: rectangle(3, 3, 20, 20)})
    again.add_object(9, "clip", "#00ff00")
    for k in (5, 3, 1):
        again.video.current_frame = k
    assert np.array_equal(again.mask(1, 1), rectangle(0, 0, 9, 9))
    assert np.array_equal(again.mask(1, 7), rectangle(2, 2, 20, 20))
    assert not again.has_masks(3)
    once_more = reloaded(again.video.scene)
    assert once_more.tracked_frames == [1, 5]
    assert np.array_equal(once_more.mask(5, 1), rectangle(3, 3, 20, 20))


def test_an_unwritable_place_keeps_what_was_there(a_video, tmp_path, monkeypatch):
    with pytest.raises(OutputError, match=r"cannot write .*none/scene\.mrb"):
        save_scene(a_video.scene, tmp_path / "none" / "scene.mrb")
    path = tmp_path / "scene.mrb"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match=r"scene\.mrb: No space left"):
        save_scene(a_video.scene, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["R & D <1>; \"x\" 'y' 50%|ü*?", "a/b\\c:d", "..", " ", "x" * 300])
def test_any_name_of_a_video_can_be_saved(a_scene, pixels, rectangle, reloaded, name):
    video = load_video(a_scene, surgsam2.open_video(pixels), name=name)
    masks = MaskNodes.create(a_scene, video, name)
    masks.add_object(1, "R & D", "#ff0000")
    masks.write(2, {1: rectangle(0, 0, 9, 9)})
    again = reloaded(a_scene)
    assert again.video.name == video.name
    assert again.objects == masks.objects
    assert np.array_equal(again.mask(2, 1), rectangle(0, 0, 9, 9))
    assert np.array_equal(again.video.frame(5), pixels[5])


def test_two_videos_with_one_name(a_scene, pixels, rectangle, tmp_path):
    for part in (pixels[:3], pixels[3:5]):
        video = load_video(a_scene, surgsam2.open_video(part), name="clip")
        masks = MaskNodes.create(a_scene, video)
        masks.add_object(1, f"of {len(part)}", "#ff0000")
        masks.write(len(part) - 1, {1: rectangle(0, 0, len(part), 1)})
    save_scene(a_scene, tmp_path / "scene.mrb")
    scene = slicer.vtkMRMLScene()
    load_scene(scene, tmp_path / "scene.mrb")
    browsers = scene.GetNodesByClass("vtkMRMLSequenceBrowserNode")
    for number, part in enumerate((pixels[:3], pixels[3:5])):
        masks = open_mask_nodes(browsers.GetItemAsObject(number))
        last = len(part) - 1
        assert masks.objects[0].name == f"of {len(part)}"
        assert masks.tracked_frames == [last]
        assert masks.mask(last, 1).sum() == len(part)
        assert np.array_equal(masks.video.frame(last), part[last])


def test_paths_from_here_and_with_any_letters(a_video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("scene.mrb", "OP 1 & 50% ü.MRB"):
        save_scene(a_video.scene, name)
        scene = slicer.vtkMRMLScene()
        load_scene(scene, name)
        assert scene.GetFirstNodeByName("clip") is not None


def test_saving_in_the_middle_of_writing(some_masks, rectangle, reloaded):
    for frame in range(6):
        some_masks.write(frame, {1: rectangle(0, 0, 9, 9 + frame)})
        if frame == 2:
            assert reloaded(some_masks.video.scene).tracked_frames == [0, 1, 2]
    assert reloaded(some_masks.video.scene).tracked_frames == list(range(6))


def test_no_temporary_folder_is_left(a_video, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    save_scene(a_video.scene, tmp_path / "scene.mrb")
    scene = slicer.vtkMRMLScene()
    for _ in range(2):
        load_scene(scene, tmp_path / "scene.mrb")
        save_scene(scene, tmp_path / "again.mrb")
    assert list(temporary.iterdir()) == []


def test_files_that_are_no_scenes(a_scene, tmp_path):
    with pytest.raises(InputError, match=r"a scene file ends in \.mrb, got 'scene\.zip'"):
        save_scene(a_scene, tmp_path / "scene.zip")
    with pytest.raises(InputError, match="there is no scene file"):
        load_scene(a_scene, tmp_path / "scene.mrb")
    (tmp_path / "scene.mrb").write_text("text")
    with pytest.raises(InputError, match="cannot be read as a zip archive"):
        load_scene(a_scene, tmp_path / "scene.mrb")
