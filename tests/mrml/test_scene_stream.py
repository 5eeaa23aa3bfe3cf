"""Scene files that are written frame by frame."""

import zipfile

import numpy as np
import pytest
import slicer

from surgsam2.errors import OutputError
from surgsam2.mrml import ObjectStyle, load_scene, open_mask_nodes
from surgsam2.mrml.scene_stream import SceneStream

STYLES = (ObjectStyle(3, 'Gäll "b"', "#e8c468"), ObjectStyle(9, "tool", "#00ff01", "a~b^c^d~e^f^g"))
NUMBERS = (10, 12, 14, 18, 100)


@pytest.fixture
def some_pixels():
    """Return masks of two objects on five frames, (5, 2, 48, 64) bool; they overlap."""
    masks = np.random.default_rng(1).random((5, 2, 48, 64)) < 0.3
    masks[3] = False
    return masks


@pytest.fixture
def a_stream(tmp_path):
    stream = SceneStream(tmp_path / "run.mrb", 29.97, STYLES)
    yield stream
    stream.discard()


def fill(stream, pixels, masks):
    for number, frame, (first, second) in zip(NUMBERS, pixels, masks, strict=False):
        stream.add(number, frame, {3: first, 9: second})


def test_the_scene_has_every_frame_and_mask(a_stream, pixels, some_pixels, tmp_path):
    fill(a_stream, pixels, some_pixels)
    a_stream.close()
    a_stream.close()
    assert [path.name for path in tmp_path.iterdir()] == ["run.mrb"]
    scene = slicer.vtkMRMLScene()
    load_scene(scene, tmp_path / "run.mrb")
    masks = open_mask_nodes(scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"))
    video = masks.video
    assert video.fps == 29.97
    assert [video.frame_number(k) for k in range(video.frame_count)] == list(NUMBERS)
    assert video.time_of(2) == pytest.approx(14 / 29.97, abs=1e-6)
    assert [(s.id, s.name, s.color) for s in masks.objects] == [
        (s.id, s.name, s.color) for s in STYLES
    ]
    assert masks.objects[1].terminology == STYLES[1].terminology
    assert masks.tracked_frames == [0, 1, 2, 3, 4]
    for k in (4, 0, 3, 1, 2):
        video.current_frame = k
        assert np.array_equal(video.frame(k), pixels[k])
        assert np.array_equal(slicer.util.arrayFromVolume(video.volume)[0], pixels[k])
        for object_id, mask in zip((3, 9), some_pixels[k], strict=True):
            assert np.array_equal(masks.mask(k, object_id), mask)
        assert masks.edited(k) == ()


def test_the_views_show_the_video(a_stream, pixels, some_pixels, tmp_path):
    fill(a_stream, pixels[:1], some_pixels)
    a_stream.close()
    scene = slicer.vtkMRMLScene()
    load_scene(scene, tmp_path / "run.mrb")
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    assert layout.GetViewArrangement() == layout.SlicerLayoutOneUpRedSliceView
    composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    volume = scene.GetNodeByID(composite.GetBackgroundVolumeID())
    assert volume.GetImageData().GetDimensions() == (64, 48, 1)
    assert not volume.GetDisplayNode().GetAutoWindowLevel()


def test_writing_a_scene_prints_nothing(a_stream, pixels, some_pixels, capfd):
    fill(a_stream, pixels[:1], some_pixels)
    a_stream.close()
    assert capfd.readouterr() == ("", "")


def test_an_object_without_a_mask_is_empty(a_stream, pixels, some_pixels, tmp_path):
    a_stream.add(0, pixels[0], {3: some_pixels[0, 0]})
    a_stream.add(1, pixels[1], {})
    a_stream.close()
    scene = slicer.vtkMRMLScene()
    load_scene(scene, tmp_path / "run.mrb")
    masks = open_mask_nodes(scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"))
    assert [masks.has_masks(k) for k in range(2)] == [True, False]
    assert not masks.mask(0, 9).any()


def test_memory_does_not_grow(a_stream, pixels, some_pixels):
    """The scene in memory has one frame, however many were added."""
    fill(a_stream, pixels, some_pixels)
    assert a_stream._scene._masks.video.frame_count == 1


def test_without_a_frame_there_is_no_file(a_stream, tmp_path):
    a_stream.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_earlier_file(a_stream, pixels, some_pixels, tmp_path, monkeypatch):
    (tmp_path / "run.mrb").write_text("old")
    fill(a_stream, pixels, some_pixels)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match=r"run\.mrb: No space left"):
        a_stream.close()
    assert (tmp_path / "run.mrb").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run.mrb"]


def test_the_file_is_an_archive_with_one_folder(a_stream, pixels, some_pixels, tmp_path):
    fill(a_stream, pixels, some_pixels)
    a_stream.close()
    with zipfile.ZipFile(tmp_path / "run.mrb") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {name.partition("/")[0] for name in names} == {"run"}
        assert archive.getinfo("run/Data/Video.raw").file_size == 5 * 48 * 64 * 3
