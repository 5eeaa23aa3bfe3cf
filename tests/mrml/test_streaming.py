"""A long video whose frames stay in its file, and of which the scene holds a window."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from PIL import Image
from vtk.util.numpy_support import vtk_to_numpy

from surgsam2.errors import InputError, OutputError, VideoError
from surgsam2.mrml import (
    MaskNodes,
    VideoNodes,
    load_scene,
    open_mask_nodes,
    open_video_nodes,
    save_scene,
)
from surgsam2.mrml.streaming import FilesMovedError, StreamedMasks, relocate, stream_video
from surgsam2.mrml.streaming.record import Record
from surgsam2.mrml.video_nodes import STREAM_ATTRIBUTE
from surgsam2.storage.output_folder import give_token, prepare_output, token_of
from surgsam2.video import open_video
from tests.video.long_video import FRAMES, HEIGHT, RATE, WIDTH, number_in, write_long_video

FRAME_BYTES = WIDTH * HEIGHT * 3
LIMIT = 200 * FRAME_BYTES


def shown_number(video: VideoNodes) -> int:
    """Return the number in the picture that Slicer shows."""
    image = video.volume.GetImageData()
    scalars = np.asarray(slicer.util.arrayFromVolume(video.volume))
    assert image.GetDimensions() == (WIDTH, HEIGHT, 1)
    return number_in(scalars[0])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a file of 10,000 frames; tests take a copy or a link."""
    return write_long_video(tmp_path_factory.mktemp("original") / "long.avi")


@pytest.fixture
def file(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "operation.avi"))


@pytest.fixture
def video(a_scene: Any, file: Path) -> Iterator[Any]:
    nodes = stream_video(a_scene, file, limit=LIMIT)
    yield nodes
    if nodes._browser.GetScene() is not None:
        nodes.remove()


@pytest.fixture
def masks(video: Any) -> MaskNodes:
    """Open the masks with objects 1 and 7, nothing written yet."""
    nodes = open_mask_nodes(video.browser)
    nodes.add_object(1, "liver", "#e8c468")
    nodes.add_object(7, "grasper", "#56b4e9")
    return nodes


def planted(frame: int) -> np.ndarray:
    """Return a (64, 96) bool mask, a square whose place tells the frame."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    y, x = divmod(frame % (50 * 80), 80)
    mask[y : y + 9, x : x + 9] = True
    return mask


def test_shows_the_right_frames_in_bounded_memory(video: Any) -> None:
    assert (video.frame_count, video.width, video.height) == (FRAMES, WIDTH, HEIGHT)
    assert video.fps == RATE
    assert video.time_of(5000) == pytest.approx(200)
    most = 0
    for frame in np.random.default_rng(0).integers(0, FRAMES, 60).tolist():
        video.current_frame = frame
        assert shown_number(video) == frame == video.current_frame
        assert number_in(video.frame(frame)) == frame
        most = max(most, video.window.held_bytes)
    assert most <= LIMIT
    assert most > LIMIT / 2, "the window is used"
    assert video.sequence.GetSequenceScene().GetNumberOfNodes() < FRAMES / 100


def test_browser_moves_the_picture(video: Any) -> None:
    """Slicer's own slider and playback move the browser alone."""
    for frame in (10, 11, 12, 9000, 8999, 8998):
        video.browser.SetSelectedItemNumber(frame)
        while not video.stream.poll(5.0):
            pass
        assert shown_number(video) == frame
    assert video.browser.GetNumberOfItems() == FRAMES


def test_a_frame_that_is_not_decoded_in_time_is_shown_later(
    video: Any, masks: MaskNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks.write(0, {1: planted(0)})
    waits: list[bool] = []
    video.stream.on_waiting = lambda: waits.append(True)
    monkeypatch.setattr("surgsam2.mrml.streaming.stream._SHOW_SECONDS", -1.0)
    video.browser.SetSelectedItemNumber(7000)
    assert waits
    assert video.current_frame == 0, "picture, masks and prompts are still those of frame 0"
    assert shown_number(video) == 0
    assert masks.mask(video.current_frame, 1).any()
    changes: list[int] = []
    video.browser.AddObserver(
        "ModifiedEvent", lambda caller, event: changes.append(video.current_frame)
    )
    assert video.stream.poll(20.0)
    assert shown_number(video) == 7000
    assert changes[-1] == 7000, "panels hear of it"


def test_neighbours_are_ready_before_they_are_asked_for(video: Any) -> None:
    video.current_frame = 5000
    assert video.window.settle(30)
    page = video.window.page_size
    first = 5000 // page * page
    for frame in (first, first + page - 1, first + page, first + 2 * page - 1):
        assert video.window.get(frame, timeout=0) is not None


def test_masks_are_files_at_once_and_the_scene_has_those_of_the_frame(
    video: Any, masks: MaskNodes
) -> None:
    assert isinstance(masks, StreamedMasks)
    assert masks is open_mask_nodes(video.browser)
    for frame in (0, 3, 9999):
        masks.write(frame, {1: planted(frame), 7: planted(frame + 400)})
    names = sorted(path.name for path in (masks.folder / "masks").iterdir())
    assert names == ["00000.png", "00003.png", "09999.png"]
    assert masks.tracked_frames == [0, 3, 9999]
    video.current_frame = 9999
    shown = masks.proxy.GetSegmentation()
    assert shown.GetNumberOfSegments() == 2
    for frame in (0, 3, 9999):
        assert np.array_equal(masks.mask(frame, 1), planted(frame) & ~planted(frame + 400))
        assert np.array_equal(masks.mask(frame, 7), planted(frame + 400))
        assert masks.edited(frame) == ()
    assert not masks.has_masks(4)
    video.current_frame = 4
    assert not masks.has_masks(4), "browsing carries no masks along"
    masks.clear(3)
    assert not masks.has_masks(3)
    assert masks.tracked_frames == [0, 9999]


def test_one_object_can_be_written_alone(video: Any, masks: MaskNodes) -> None:
    masks.write(5, {1: planted(5), 7: planted(900)})
    masks.write(5, {1: planted(2000)})
    assert np.array_equal(masks.mask(5, 1), planted(2000))
    assert np.array_equal(masks.mask(5, 7), planted(900))


def paint(masks: MaskNodes, object_id: int, mask: np.ndarray) -> None:
    paint_segment(masks, masks.segment_id(object_id), mask)


def paint_segment(masks: MaskNodes, segment_id: str, mask: np.ndarray) -> None:
    """Paint on the shown frame as Segment Editor does."""
    painted = slicer.vtkOrientedImageData()
    painted.SetExtent(0, WIDTH - 1, 0, HEIGHT - 1, 0, 0)
    painted.SetGeometryFromImageToWorldMatrix(masks.video.ijk_to_ras)
    painted.AllocateScalars(3, 1)
    vtk_to_numpy(painted.GetPointData().GetScalars())[:] = mask.ravel()
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        painted, masks.proxy, segment_id, 0
    )


def test_edits_by_hand_are_kept_when_another_frame_is_shown(video: Any, masks: MaskNodes) -> None:
    edits: list[int] = []
    end = masks.on_edit(edits.append)
    masks.write(20, {1: planted(20), 7: planted(900)})
    video.current_frame = 20
    assert not edits, "our own writing is no edit"
    paint(masks, 7, planted(3000))
    assert set(edits) == {20}
    assert masks.edited(20) == (7,)
    video.current_frame = 40
    assert masks.edited(20) == (7,)
    assert np.array_equal(masks.mask(20, 7), planted(3000))
    assert np.array_equal(masks.mask(20, 1), planted(20))
    video.current_frame = 20
    assert masks.edited(20) == (7,)
    masks.write(20, {7: planted(3000)})
    assert masks.edited(20) == ()
    end()


def test_a_segment_made_by_hand_stays_on_its_frame(video: Any, masks: MaskNodes) -> None:
    edits: list[int] = []
    end = masks.on_edit(edits.append)
    video.current_frame = 30
    masks.proxy.GetSegmentation().AddEmptySegment("mine", "needle")
    paint_segment(masks, "mine", planted(77))
    edits.clear()
    video.current_frame = 31
    assert [style.name for style in masks.objects] == ["liver", "grasper", "needle"]
    assert set(edits) == {30}
    assert np.array_equal(masks.mask(30, 8), planted(77))
    assert not masks.mask(31, 8).any()
    assert masks.edited(30) == (8,)
    assert masks.new_segments() == []
    end()


def test_the_segmentation_is_made_anew_when_it_was_deleted(video: Any, masks: MaskNodes) -> None:
    masks.write(2, {7: planted(2)})
    video.scene.RemoveNode(masks.proxy)
    video.current_frame = 2
    assert np.array_equal(masks.mask(2, 7), planted(2))
    assert [style.name for style in masks.objects] == ["liver", "grasper"]
    paint(masks, 1, planted(900))
    assert masks.edited(2) == (1,)


def test_removed_objects_leave_the_files(video: Any, masks: MaskNodes) -> None:
    for frame in (0, 8):
        masks.write(frame, {1: planted(frame), 7: planted(900)})
    masks.remove_object(7)
    masks.add_object(7, "another", "#112233")
    for frame in (0, 8):
        assert not masks.mask(frame, 7).any()
        assert np.array_equal(masks.mask(frame, 1), planted(frame))


def test_saved_moved_together_and_opened_again(
    video: Any, masks: MaskNodes, tmp_path: Path
) -> None:
    for frame in range(0, FRAMES, 500):
        masks.write(frame, {1: planted(frame)})
    video.current_frame = 4500
    paint(masks, 7, planted(123))
    (tmp_path / "case").mkdir()
    scene_file = tmp_path / "case" / "operation.mrb"
    save_scene(video.scene, scene_file)
    assert scene_file.stat().st_size < 2_000_000, "no frames but the one that is shown"
    folder = masks.folder
    video.remove()
    for path in (tmp_path / "operation.avi", folder):
        shutil.move(path, tmp_path / "case")
    (tmp_path / "case").rename(tmp_path / "elsewhere")

    scene = slicer.vtkMRMLScene()
    load_scene(scene, tmp_path / "elsewhere" / "operation.mrb")
    browser = scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    again = open_video_nodes(browser)
    masks = open_mask_nodes(browser)
    assert again.file == tmp_path / "elsewhere" / "operation.avi"
    assert again.current_frame == 4500 == shown_number(again)
    assert [style.name for style in masks.objects] == ["liver", "grasper"]
    assert masks.tracked_frames == list(range(0, FRAMES, 500))
    for frame in range(0, FRAMES, 500):
        assert np.array_equal(masks.mask(frame, 1), planted(frame))
    assert np.array_equal(masks.mask(4500, 7), planted(123)), "painted by hand"
    assert masks.edited(4500) == (7,)
    again.current_frame = 9999
    assert shown_number(again) == 9999
    again.remove()


@pytest.fixture
def saved(video: Any, masks: MaskNodes, tmp_path: Path) -> Path:
    """Save a scene of a video with a mask on frame 3."""
    masks.write(3, {1: planted(3)})
    path = tmp_path / "scenes" / "operation.mrb"
    path.parent.mkdir()
    save_scene(video.scene, path)
    video.remove()
    return path


@pytest.fixture
def opened(saved: Path) -> Iterator[Any]:
    """Open the scene file in a new scene; return the browser of its video."""
    scene = slicer.vtkMRMLScene()
    load_scene(scene, saved)
    yield scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    scene.Clear(0)


def test_a_video_that_moved_is_a_message_and_can_be_pointed_to(
    opened: Any, file: Path, tmp_path: Path
) -> None:
    new_place = tmp_path / "archive" / "renamed.avi"
    new_place.parent.mkdir()
    shutil.move(file, new_place)
    with pytest.raises(FilesMovedError, match=r"operation\.avi.*put it back, or say") as caught:
        open_video_nodes(opened)
    assert caught.value.video
    other = tmp_path / "other.avi"
    other.write_bytes(b"x" * 5000)
    with pytest.raises(InputError, match="another video"):
        relocate(opened, video=other)
    video = relocate(opened, video=new_place)
    assert number_in(video.frame(77)) == 77
    assert np.array_equal(open_mask_nodes(opened).mask(3, 1), planted(3))


def test_another_file_in_the_video_s_place_is_refused(opened: Any, file: Path) -> None:
    file.write_bytes(b"something else")
    with pytest.raises(FilesMovedError, match="another file is now in the place"):
        open_video_nodes(opened)


def test_a_folder_of_masks_that_moved_is_a_message(opened: Any, tmp_path: Path) -> None:
    shutil.move(tmp_path / "operation_segmented", tmp_path / "results")
    with pytest.raises(FilesMovedError, match=r"operation_segmented.*masks") as caught:
        open_mask_nodes(opened)
    assert not caught.value.video
    relocate(opened, masks=tmp_path / "results").current_frame = 3
    assert np.array_equal(open_mask_nodes(opened).mask(3, 1), planted(3))


@pytest.mark.parametrize(
    "text",
    ["7", "{}", '["a", "b"]', '["a", "b", 7]', '["a", "b", null]', '["a", "b", ["c"]]',
     '["a", "b", "c", "d", "e"]', '["a\\u0000", "b", "c"]', "[" * 100_000],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_damaged_record_is_told(text: str) -> None:
    browser = slicer.vtkMRMLSequenceBrowserNode()
    browser.SetAttribute(STREAM_ATTRIBUTE, text)
    with pytest.raises(InputError, match="was damaged; open the video anew"):
        Record.of(browser)


@pytest.mark.parametrize("token", [None, "", "0" * 32, "of the scene"])
def test_a_scene_cannot_choose_another_folder_for_masks(
    opened: Any, tmp_path: Path, token: str | None
) -> None:
    """A stranger's scene names results of the user, and knows its own folder's token at most."""
    results = prepare_output(tmp_path / "results of another video")
    Image.new("L", (WIDTH, HEIGHT), 1).save(results / "00003.png")
    give_token(results)
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    video, fingerprint, _, own = json.loads(opened.GetAttribute(STREAM_ATTRIBUTE))
    record = [video, fingerprint, results.as_posix()]
    if token is not None:
        record.append(own if token == "of the scene" else token)
    opened.SetAttribute(STREAM_ATTRIBUTE, json.dumps(record))
    with pytest.raises(FilesMovedError, match="does not prove") as caught:
        open_mask_nodes(opened)
    assert not caught.value.video
    assert before == {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    relocate(opened, masks=tmp_path / "operation_segmented").current_frame = 3
    assert np.array_equal(open_mask_nodes(opened).mask(3, 1), planted(3))


def test_the_folder_of_a_run_is_taken_where_the_user_names_it(a_scene: Any, file: Path) -> None:
    """Afterwards the scene finds it again, beside the scene file too."""
    folder = prepare_output(file.parent / "run")
    browser = stream_video(a_scene, file, folder).browser
    assert folder.samefile(open_mask_nodes(browser).folder)
    record = Record.of(browser)
    assert record is not None
    assert record.token == give_token(folder) == token_of(folder)
    assert record.found(a_scene) == record


def test_a_wrong_place_leaves_a_video_that_is_in_use(
    video: Any, masks: Any, tmp_path: Path
) -> None:
    masks.write(3, {1: planted(3)})
    with pytest.raises(FilesMovedError, match="nowhere"):
        relocate(video.browser, masks=tmp_path / "nowhere")
    video.current_frame = 3
    assert shown_number(video) == 3
    assert np.array_equal(open_mask_nodes(video.browser).mask(3, 1), planted(3))


def test_painting_keeps_objects_that_only_the_file_has(
    a_scene: Any, video: Any, masks: Any
) -> None:
    masks.write(0, {1: planted(0)})
    masks.write(3, {7: planted(7)})
    path = masks.folder / "masks" / "00000.png"
    with Image.open(path) as image:
        labels, palette = np.array(image), image.getpalette()
    labels[40:44, 60:64] = 9
    with Image.fromarray(labels, "P") as image:
        image.putpalette(palette)
        image.save(path)
    video.current_frame = 3
    video.current_frame = 0
    paint(masks, 7, planted(900))
    video.current_frame = 3
    with Image.open(path) as image:
        assert set(np.unique(np.array(image))) == {0, 1, 7, 9}


def test_a_refused_video_leaves_scene_and_disk(
    a_scene: Any, file: Path, tmp_path: Path, contents: Any
) -> None:
    before, files = contents(a_scene), sorted(tmp_path.iterdir())
    with pytest.raises(VideoError, match="no such file"):
        stream_video(a_scene, tmp_path / "nothing.mp4")
    with pytest.raises(InputError, match="does not hold 4 frames"):
        stream_video(a_scene, file, limit=1000)
    with pytest.raises(OutputError, match="not empty"):
        stream_video(a_scene, file, tmp_path)
    assert contents(a_scene) == before
    assert sorted(tmp_path.iterdir()) == files


def test_a_disk_that_refuses_keeps_what_was_painted(
    video: Any, masks: MaskNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = []
    video.stream.on_problem = problems.append

    def full(*_: Any) -> None:
        raise OutputError("cannot write it: the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("surgsam2.mrml.streaming.label_folder.write_labels", full)
        paint(masks, 1, planted(5))
        video.browser.SetSelectedItemNumber(9)
        while not video.stream.poll(5.0):
            pass
        assert "disk is full" in problems[0]
        with pytest.raises(OutputError, match="disk is full"):
            video.current_frame = 9
        assert np.array_equal(masks.mask(video.current_frame, 1), planted(5))
    video.current_frame = 9
    assert np.array_equal(masks.mask(0, 1), planted(5))


def test_a_damaged_label_file_is_named_and_the_picture_is_shown(video: Any, masks: Any) -> None:
    problems: list[str] = []
    video.stream.on_problem = problems.append
    masks.write(6, {1: planted(6)})
    masks.write(7, {1: planted(7)})
    (masks.folder / "masks" / "00006.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"00006\.png"):
        masks.mask(6, 1)
    video.current_frame = 6
    assert shown_number(video) == 6
    assert "00006.png" in problems[0]
    masks.write(6, {1: planted(8)})
    assert np.array_equal(masks.mask(6, 1), planted(8))


def test_closing_the_scene_ends_the_thread_and_releases_the_file(a_scene: Any, video: Any) -> None:
    window = video.window
    a_scene.Clear(0)
    assert window.held_frames == 0
    with pytest.raises(VideoError, match="closed"):
        window.get(0)


def test_a_removed_video_leaves_its_files_alone(
    a_scene: Any, video: Any, masks: Any, file: Path
) -> None:
    masks.write(0, {1: planted(0)})
    video.remove()
    for name in ("Volume", "Segmentation", "Sequence", "SequenceBrowser", "ScriptedModule"):
        assert a_scene.GetFirstNodeByClass(f"vtkMRML{name}Node") is None
    assert file.is_file()
    assert (masks.folder / "masks" / "00000.png").is_file()


def test_a_video_in_the_scene_is_not_streamed(a_video: Any) -> None:
    assert a_video.file is None
    with pytest.raises(InputError, match="is in the scene"):
        relocate(a_video.browser, video="x.mp4")


def test_frames_equal_those_of_the_file(video: Any, file: Path) -> None:
    with open_video(file) as plain:
        for frame in (0, 1, 4321, FRAMES - 1):
            assert np.array_equal(video.frame(frame), plain[frame])
            assert not video.frame(frame).flags.writeable
    with pytest.raises(VideoError, match="frame 10005 cannot be read"):
        video.window.get(FRAMES + 5)
    with pytest.raises(InputError, match="there is no frame 10000"):
        video.current_frame = FRAMES


def test_streaming_needs_no_opencv() -> None:
    """Slicer's Python may lack it when another Python runs the engine."""
    code = "import sys; sys.modules['cv2'] = None; import surgsam2.mrml.streaming"
    subprocess.run([sys.executable, "-c", code], check=True)
