"""Live segmentation on real MRML nodes: queue, changes of the source, recording."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from SurgSAM2Lib.live import live_session
from SurgSAM2Lib.live.source import LiveSource
from SurgSAM2Lib.logic import LogicCore
from vtk.util.numpy_support import numpy_to_vtk

from surgsam2.errors import InputError, PromptError
from surgsam2.mrml import open_mask_nodes, open_video_nodes
from surgsam2.mrml.loading import image_of
from tests.conftest import moving_picture
from tests.extension.conftest import FRAMES, HEIGHT, WIDTH
from tests.extension.fake_live_client import FakeLiveClient, disc_in

POINT = [[20, 60, 1]]


@pytest.fixture
def volume(scene: Any, pictures: np.ndarray) -> Any:
    """A live volume that shows the first picture."""
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "camera")
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    node.SetAndObserveImageData(image_of(pictures[0]))
    return node


@pytest.fixture
def client() -> FakeLiveClient:
    return FakeLiveClient()


@pytest.fixture
def core(scene: Any, volume: Any, client: FakeLiveClient) -> Iterator[LogicCore]:
    """A live session whose model is loaded, with one object that is marked."""
    logic = LogicCore(scene, makeClient=lambda: client)  # type: ignore[arg-type, return-value]
    logic.startLive(volume)
    logic.addLiveObject("tool", "#11aa55")
    run(logic, client, 2)
    logic.addLivePrompt(1, points=POINT)
    yield logic
    logic.close()


def run(logic: LogicCore, client: FakeLiveClient, segments: int = 1) -> None:
    """Do what the timer does while the engine finishes some pictures."""
    logic.processEvents()
    for _ in range(segments):
        client.segment()
        logic.processEvents()


def show(volume: Any, picture: np.ndarray) -> None:
    volume.SetAndObserveImageData(image_of(picture))


def test_each_way_of_changing_an_image_is_one_change(volume: Any, pictures: np.ndarray) -> None:
    from slicer.util import arrayFromVolume, arrayFromVolumeModified

    source = LiveSource(volume)
    assert (source.changes, source.fresh, source.size) == (1, True, (WIDTH, HEIGHT))

    def change_in_place() -> None:
        arrayFromVolume(volume)[0] = pictures[2]
        arrayFromVolumeModified(volume)

    for number, change in enumerate(
        (
            lambda: show(volume, pictures[1]),
            change_in_place,
            lambda: volume.GetImageData().Modified(),
            lambda: volume.GetImageData().DeepCopy(image_of(pictures[3])),
        ),
        start=2,
    ):
        source.take()
        change()
        assert source.fresh
        assert source.changes in (number, number + 1), "a deep copy is two changes for VTK"
    volume.SetName("another name")
    taken = source.take()
    assert np.array_equal(taken.pixels, pictures[3])
    volume.SetName("and another")
    assert not source.fresh
    source.close()
    show(volume, pictures[4])
    assert not source.fresh


def test_a_streaming_volume_and_grey_and_rgba_images(scene: Any, pictures: np.ndarray) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLStreamingVolumeNode", "stream")
    source = LiveSource(node)
    assert source.size is None
    show(node, pictures[0])
    assert source.fresh
    assert np.array_equal(source.take().pixels, pictures[0])
    for values in (pictures[1][..., :1], np.concatenate([pictures[1], pictures[1][..., :1]], 2)):
        image = vtk.vtkImageData()
        image.SetDimensions(WIDTH, HEIGHT, 1)
        flat = np.ascontiguousarray(values).reshape(-1, values.shape[2])
        image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
        node.SetAndObserveImageData(image)
        expected = np.repeat(values, 3, 2) if values.shape[2] == 1 else values[..., :3]
        assert np.array_equal(source.take().pixels, expected)


def test_a_slow_model_gets_the_newest_picture_and_the_queue_never_grows(
    core: LogicCore, client: FakeLiveClient, volume: Any
) -> None:
    """At 25 pictures per second, a model that takes 1.5 per second segments every 16th."""
    clip = moving_picture(96, WIDTH, HEIGHT)
    shown_last = []
    for k, picture in enumerate(clip):
        show(volume, picture)
        core.processEvents()
        assert core.liveStatistics().waiting <= 2
        if k % 16 == 15:
            client.segment()
            core.processEvents()
            shown_last.append(core.live.masks.mask(1).copy())
    assert client.most_waiting == 1
    # the picture that was sent when the one before was done
    expected = [disc_in(clip[k]) for k in (0, 15, 31, 47, 63, 79)]
    assert np.array_equal(shown_last, expected), "a mask belongs to its own picture"
    statistics = core.liveStatistics()
    assert statistics.received == 97
    assert statistics.segmented == 1 + 6
    assert statistics.dropped == 97 - 7 - statistics.waiting
    assert statistics.latencyP95 >= statistics.latencyMedian > 0
    assert statistics.fps > 0


def test_a_quick_model_segments_every_picture(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    client.milliseconds = 5.0
    for picture in pictures:
        show(volume, picture)
        run(core, client)
        assert np.array_equal(core.live.masks.mask(1), disc_in(picture))
    statistics = core.liveStatistics()
    assert (statistics.received, statistics.segmented, statistics.dropped) == (13, 13, 0)
    show(volume, pictures[0])
    core.processEvents()
    show(volume, pictures[1])
    core.processEvents()
    assert client.most_waiting == 2, "the next one is there when the first is finished"


def test_a_picture_that_the_worker_passed_over_is_not_waited_for(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    client.milliseconds = 5.0
    show(volume, pictures[1])
    run(core, client)
    for k in (2, 3):
        show(volume, pictures[k])
        core.processEvents()
    del client._waiting[0]
    run(core, client)
    assert core.liveStatistics().waiting == 0
    assert core.liveStatistics().dropped == 1
    assert np.array_equal(core.live.masks.mask(1), disc_in(pictures[3]))


def test_prompts_while_it_runs_and_objects_that_go(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    prompts, image = client.prompts[0]
    assert np.array_equal(image, pictures[0])
    assert [(item.id, item.name, item.color) for item in prompts] == [(1, "tool", "#11aa55")]
    show(volume, pictures[5])
    core.addLiveObject("liver")
    core.addLivePrompt(2, box=[10, 10, 50, 50])
    assert np.array_equal(client.prompts[1][1], pictures[5]), "the picture that is shown now"
    run(core, client)
    assert core.live.masks.mask(2).any()
    core.removeLiveObject(1)
    assert client.removed == [1]
    assert [style.name for style in core.live.objects] == ["liver"]
    show(volume, pictures[6])
    run(core, client)
    # another module deletes a segment
    core.live.masks.proxy.GetSegmentation().RemoveSegment("Object_2")
    show(volume, pictures[7])
    run(core, client)
    assert client.removed == [1, 2]


def test_marks_on_a_picture_that_is_held(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    show(volume, pictures[3])
    run(core, client)
    held = core.live.marking.hold()
    for picture in pictures[4:8]:
        show(volume, picture)
        run(core, client)
    core.addLivePrompt(1, points=[[30, 60, 1], [5, 5, 0]])
    prompts, image = client.prompts[-1]
    assert np.array_equal(image, held.pixels)
    assert np.array_equal(image, pictures[3])
    assert prompts.frames == (1,), "the second segmented picture, not the newest"
    core.live.marking.release()
    core.addLivePrompt(1, points=POINT)
    assert np.array_equal(client.prompts[-1][1], pictures[7])


def test_marks_before_the_first_picture_is_segmented_wait_for_it(
    scene: Any, volume: Any, client: FakeLiveClient, pictures: np.ndarray
) -> None:
    logic = LogicCore(scene, makeClient=lambda: client)  # type: ignore[arg-type, return-value]
    logic.startLive(volume)
    logic.addLiveObject("tool")
    logic.addLivePrompt(1, points=POINT)
    logic.processEvents()
    assert logic.live.state == "starting"
    assert not client.prompts
    run(logic, client, 2)
    assert logic.live.state == "running"
    assert np.array_equal(client.prompts[0][1], pictures[0])
    logic.close()


def test_what_is_refused(core: LogicCore, scene: Any, client: FakeLiveClient) -> None:
    with pytest.raises(PromptError, match="outside"):
        core.addLivePrompt(1, points=[[500, 10, 1]])
    with pytest.raises(PromptError):
        core.addLivePrompt(1, points=[[50, 10, 0]])
    with pytest.raises(InputError, match="no object 7"):
        core.addLivePrompt(7, points=POINT)
    other = scene.AddNewNodeByClass("vtkMRMLModelNode")
    with pytest.raises(InputError, match="vtkMRMLVolumeNode"):
        core.startLive(other)
    floats = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ct")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 1)
    image.AllocateScalars(vtk.VTK_FLOAT, 1)
    floats.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="ct cannot be segmented: its values are float"):
        core.startLive(floats)
    with pytest.raises(InputError, match="are free"):
        core.recordLive(10**6)
    assert core.live.running, "what runs goes on"
    core.stopLive()
    for action in (
        lambda: core.addLivePrompt(1, points=POINT),
        core.recordLive,
        lambda: core.live.marking,
    ):
        with pytest.raises(InputError, match="no live session runs"):
            action()
    assert core.stopRecordingLive() is None


def test_the_volume_is_deleted(
    core: LogicCore, client: FakeLiveClient, scene: Any, volume: Any, pictures: np.ndarray
) -> None:
    core.recordLive(0.1)
    show(volume, pictures[2])
    run(core, client, 2)
    kept = core.live.masks.mask(1)
    assert kept.any()
    scene.RemoveNode(volume)
    core.processEvents()
    assert not core.live.running
    assert not client.alive
    assert "deleted" in core.live.message
    assert np.array_equal(core.live.masks.mask(1), kept)
    browser = scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    assert open_video_nodes(browser).frame_count == 1

    # a session with another camera has the same objects
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "another camera")
    show(node, pictures[3])
    core.startLive(node)
    run(core, client, 2)
    core.addLivePrompt(1, points=POINT)
    show(node, pictures[4])
    run(core, client)
    assert np.array_equal(core.live.masks.mask(1), disc_in(pictures[4]))


def test_the_segmentation_is_deleted(core: LogicCore, scene: Any) -> None:
    scene.RemoveNode(core.live.masks.proxy)
    core.processEvents()
    assert not core.live.running
    assert "segmentation was deleted" in core.live.message


def test_the_image_goes_and_comes_back(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    messages: list[str] = []
    core.live.on_message = messages.append
    volume.SetAndObserveImageData(None)
    for _ in range(3):
        core.processEvents()
    assert core.live.state == "waiting"
    assert len(messages) == 1
    assert "waiting" in messages[0]
    show(volume, pictures[5])
    run(core, client)
    assert core.live.state == "running"
    assert core.live.message == ""
    assert client.sessions == [(WIDTH, HEIGHT)], "the objects are still followed"
    assert np.array_equal(core.live.masks.mask(1), disc_in(pictures[5]))


def test_the_size_changes(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    core.recordLive(0.1)
    show(volume, pictures[1])
    run(core, client)
    small = np.ascontiguousarray(pictures[2][:60, :80])
    show(volume, small)
    core.processEvents()
    assert client.sessions == [(WIDTH, HEIGHT), (80, 60)]
    assert client.loads == 1, "the model is kept"
    assert "80 x 60" in core.live.message
    assert "recording has ended" in core.live.message
    assert core.live.recording is None
    assert core.live.masks.mask(1).shape == (60, 80)
    assert not core.live.masks.mask(1).any()
    run(core, client)
    core.addLivePrompt(1, points=[[20, 50, 1]])
    show(volume, small[::-1].copy())
    run(core, client)
    assert np.array_equal(core.live.masks.mask(1), disc_in(small[::-1]))


def test_the_worker_dies_and_goes_on(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    show(volume, pictures[2])
    run(core, client)
    kept = core.live.masks.mask(1)
    client.die()
    core.processEvents()
    assert core.live.running
    assert "exit code -9" in core.live.message
    assert "goes on from the last masks" in core.live.message
    assert np.array_equal(core.live.masks.mask(1), kept), "nothing is lost meanwhile"
    show(volume, pictures[4])
    run(core, client)
    prompts, image = client.prompts[-1]
    assert np.array_equal(prompts.for_object(1).prompts[0].mask, kept)
    assert np.array_equal(image, pictures[2]), "the mask's own picture"
    show(volume, pictures[6])
    run(core, client)
    assert np.array_equal(core.live.masks.mask(1), disc_in(pictures[6]))


def test_a_worker_that_dies_again_at_once_is_not_started_for_ever(
    core: LogicCore, client: FakeLiveClient
) -> None:
    client.die()
    core.processEvents()
    assert core.live.running
    client.die()
    core.processEvents()
    assert not core.live.running
    assert "kept" in core.live.message
    assert client.loads == 2


def test_the_worker_dies_while_the_source_shows_nothing(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    show(volume, pictures[2])
    run(core, client)
    volume.SetAndObserveImageData(None)
    core.processEvents()
    client.die()
    core.processEvents()
    assert core.live.running
    for k in (4, 6):
        show(volume, pictures[k])
        run(core, client)
    assert np.array_equal(core.live.masks.mask(1), disc_in(pictures[6]))


def test_a_source_that_stops(
    core: LogicCore,
    client: FakeLiveClient,
    volume: Any,
    pictures: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    show(volume, pictures[2])
    run(core, client)
    assert core.live.state == "running"
    with monkeypatch.context() as patch:
        patch.setattr(live_session, "STILL_SECONDS", -1.0)
        core.processEvents()
        assert core.live.state == "waiting"
        assert "no new picture" in core.live.message
        core.live.message = ""
        core.processEvents()
        assert core.live.message == "", "it is said once"
    show(volume, pictures[4])
    run(core, client)
    assert (core.live.state, core.live.message) == ("running", "")
    assert np.array_equal(core.live.masks.mask(1), disc_in(pictures[4]))


def test_a_worker_that_cannot_be_made_leaves_what_runs(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    def refuse() -> Any:
        raise InputError("no Python there")

    core.live.use_client(refuse)
    with pytest.raises(InputError, match="no Python there"):
        core.startLive(volume)
    show(volume, pictures[5])
    run(core, client, 2)
    assert np.array_equal(core.live.masks.mask(1), disc_in(pictures[5]))


def test_an_error_of_the_engine_ends_it_with_its_reason(
    core: LogicCore, client: FakeLiveClient
) -> None:
    client.fail(client.session, "out of memory on cuda; use a smaller model")
    core.processEvents()
    assert not core.live.running
    assert core.live.message.startswith("out of memory on cuda")


def test_a_refused_prompt_is_a_message_and_it_goes_on(
    core: LogicCore, client: FakeLiveClient
) -> None:
    client.fail(client._number, "the mask vanishes")
    core.processEvents()
    assert core.live.message == "the mask vanishes"
    assert core.live.running


def test_the_recording_is_a_video_with_masks_and_times(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    run(core, client)
    core.recordLive(0.1)
    for picture in pictures[1:5]:
        show(volume, picture)
        run(core, client)
    core.addLiveObject("liver")
    core.addLivePrompt(2, points=POINT)
    for picture in pictures[5:8]:
        show(volume, picture)
        run(core, client)
    browser = core.stopRecordingLive()
    video, masks = open_video_nodes(browser), open_mask_nodes(browser)
    assert video.frame_count == 7
    assert [(s.id, s.name) for s in masks.objects] == [(1, "tool"), (2, "liver")]
    for k in range(7):
        assert np.array_equal(video.frame(k), pictures[k + 1])
        assert np.array_equal(masks.mask(k, 1), disc_in(pictures[k + 1])), "its own frame's mask"
        assert masks.mask(k, 2).any() == (k >= 4)
    times = [video.time_of(k) for k in range(7)]
    assert times[0] == 0
    assert times == sorted(set(times))
    assert not masks.proxy.GetDisplayVisibility(), "the live masks are in the same place"
    core.setVideo(browser)  # to be corrected and tracked again
    assert masks.proxy.GetDisplayVisibility()
    assert core.getMask(1, 3).any()


def test_the_recording_ends_at_its_limit_and_segmenting_goes_on(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    a_frame = WIDTH * HEIGHT * 4 + 150_000
    core.recordLive(3.5 * a_frame / 1e9)
    for picture in pictures[1:7]:
        show(volume, picture)
        run(core, client)
    assert core.live.recording is None
    assert "limit" in core.live.message
    assert "(3 frames)" in core.live.message
    assert np.array_equal(core.live.masks.mask(1), disc_in(pictures[6]))


def test_a_deleted_recording_ends_it_and_segmenting_goes_on(
    core: LogicCore, client: FakeLiveClient, scene: Any, volume: Any, pictures: np.ndarray
) -> None:
    core.recordLive(0.1)
    show(volume, pictures[1])
    run(core, client)
    scene.RemoveNode(core.live.recording.browser)  # type: ignore[union-attr]
    show(volume, pictures[2])
    run(core, client)
    assert core.live.recording is None
    assert "recording has ended" in core.live.message
    assert core.live.running


def test_masks_lie_where_the_volume_lies(
    core: LogicCore, client: FakeLiveClient, volume: Any, pictures: np.ndarray
) -> None:
    """A tracked probe moves the volume with each picture."""
    show(volume, pictures[3])
    volume.SetOrigin(40, -30, 7)
    run(core, client, 2)
    node = core.live.masks.proxy
    bounds = [0.0] * 6
    image = node.GetSegmentation().GetSegment("Object_1").GetRepresentation("Binary labelmap")
    image.GetBounds(bounds)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    assert [matrix.GetElement(i, 3) for i in range(3)] == [40, -30, 7]
    assert np.array_equal(core.live.masks.mask(1), disc_in(pictures[3]))
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    assert isinstance(node, slicer.vtkMRMLSegmentationNode)
    assert FRAMES > 7
