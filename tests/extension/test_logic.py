"""Objects, prompts, corrections and tracking through the logic, on real MRML nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from SurgSAM2Lib.logic import LogicCore
from SurgSAM2Lib.tracking.engine import EngineError

from surgsam2.errors import InputError, PromptError
from tests.conftest import disc
from tests.extension.conftest import FRAMES, HEIGHT, WIDTH
from tests.extension.fake_client import RADIUS, FakeClient


def mask_at(x: int, y: int) -> np.ndarray:
    return disc(WIDTH, HEIGHT, x, y, RADIUS)


def state(logic: LogicCore) -> tuple[Any, ...]:
    """Return everything of a session that a refused call must not change."""
    session = logic.session
    assert session is not None
    masks = [
        session.masks.mask(k, style.id).tobytes()
        for k in range(FRAMES)
        for style in session.objects
    ]
    return tuple(session.objects), session.prompt_set(), masks, len(session.history)


def test_a_point_is_previewed_tracked_and_read_back(logic: LogicCore) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.preview(0, wait=True)
    assert np.array_equal(logic.getMask(1, 0), mask_at(50, 60))
    job = logic.track(wait=True)
    assert (job.status, job.done, job.total) == ("complete", FRAMES, FRAMES)
    for k in range(FRAMES):
        assert np.array_equal(logic.getMask(1, k), mask_at(50 + 2 * k, 60)), k


def test_live_preview_follows_each_change_and_undo(logic: LogicCore) -> None:
    logic.livePreview = True
    logic.addPoint(1, 50, 60, frame=3)
    logic.wait()
    one = logic.getMask(1, 3)
    logic.addPoint(1, 55, 60, positive=False, frame=3)
    logic.wait()
    assert logic.getMask(1, 3).sum() < one.sum()
    assert logic.undo()
    logic.wait()
    assert np.array_equal(logic.getMask(1, 3), one)
    assert logic.undo()
    assert not logic.getMask(1, 3).any()
    assert not logic.undo()


def test_previews_that_are_outdated_do_not_pile_up(logic: LogicCore, client: FakeClient) -> None:
    logic.livePreview = True
    for x in range(40, 80, 5):
        logic.addPoint(1, x, 60, frame=0)
    assert logic.wait(10)
    assert client.sent.count("preview") - client.sent.count("cancel") == 1
    assert logic.getMask(1, 0)[60, 75]


def test_a_correction_becomes_a_conditioning_frame_and_is_tracked_on(logic: LogicCore) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    before = logic.getMask(1, 6)
    logic.correct(1, [[62, 52, 0]], frame=6, wait=True)
    logic.correct(1, [[62, 75, 1]], frame=6, wait=True)
    corrected = logic.getMask(1, 6)
    assert not corrected[52, 62]
    assert corrected[75, 62]
    assert logic.session is not None
    assert logic.session.prompt_set().frames == (0, 6)
    logic.track(start=6, wait=True)
    assert np.array_equal(logic.getMask(1, 6), corrected)
    assert np.array_equal(logic.getMask(1, 8), np.roll(corrected, 4, axis=1))
    assert np.array_equal(logic.getMask(1, 5), mask_at(60, 60)), "before it nothing changes"
    for _ in ("the second track", "the second click", "the first click"):
        logic.undo()
    assert np.array_equal(logic.getMask(1, 6), before)
    assert logic.session.prompt_set().frames == (0,)


def test_clicks_may_all_be_negative_in_a_correction_only(logic: LogicCore) -> None:
    with pytest.raises(PromptError, match="positive point or a box"):
        logic.addPoint(1, 50, 60, positive=False, frame=0)
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    logic.correct(1, [[64, 60, 0]], frame=2, wait=True)
    assert logic.getMask(1, 2).sum() < mask_at(54, 60).sum()


def test_clearing_a_correction_brings_the_tracked_mask_back(logic: LogicCore) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    before = logic.getMask(1, 4)
    logic.correct(1, [[50, 60, 0]], frame=4, wait=True)
    logic.clearPrompts(1, frame=4)
    assert np.array_equal(logic.getMask(1, 4), before)
    logic.clearPrompts(1, frame=0)
    assert not logic.getMask(1, 0).any()


def test_a_hand_edit_becomes_a_prompt_of_the_next_track(logic: LogicCore) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    session = logic.session
    assert session is not None
    painted = mask_at(30, 30)
    session.video.current_frame = 7
    paint(session, 1, painted)
    assert list(session.edited) == [7]
    logic.track(start=7, wait=True)
    assert np.array_equal(logic.getMask(1, 7), painted)
    assert np.array_equal(logic.getMask(1, 9), np.roll(painted, 4, axis=1))
    assert session.prompt_set().frames == (0, 7)
    assert list(session.edited) == []


def test_a_hand_edit_during_a_track_is_not_lost(logic: LogicCore) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    other = logic.addObject("other")
    logic.addPoint(other, 90, 60, frame=0)
    job = logic.track()
    while job.done < 3:
        logic.processEvents()
    assert logic.session is not None
    logic.session.video.current_frame = 8
    painted = disc(WIDTH, HEIGHT, 120, 30, 9)
    paint(logic.session, 1, painted)
    assert logic.wait(10)
    assert job.status == "complete"
    np.testing.assert_array_equal(logic.getMask(1, 8), painted)
    assert logic.getMask(other, 8).any(), "the other object is tracked"
    assert list(logic.session.edited) == [8]
    logic.track(wait=True)
    assert logic.session.prompts.get(1, 8).mask is not None, "a prompt of the next track"


def test_track_between_two_corrected_frames_leaves_the_rest(logic: LogicCore) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    logic.setMask(1, mask_at(40, 40), frame=3)
    logic.setMask(1, mask_at(90, 90), frame=8)
    logic.trackBetween(5, wait=True)
    assert np.array_equal(logic.getMask(1, 4), mask_at(42, 40))
    assert np.array_equal(logic.getMask(1, 7), mask_at(48, 40))
    assert np.array_equal(logic.getMask(1, 8), mask_at(90, 90))
    assert np.array_equal(logic.getMask(1, 2), mask_at(54, 60))
    assert np.array_equal(logic.getMask(1, 9), mask_at(68, 60))


def test_tracking_from_a_correction_leaves_the_other_objects_alone(logic: LogicCore) -> None:
    other = logic.addObject("liver")
    logic.addPoint(1, 50, 60, frame=0)
    logic.addPoint(other, 100, 30, frame=0)
    logic.track(wait=True)
    kept = logic.getMask(other, 8)
    logic.setMask(1, mask_at(40, 90), frame=6)
    logic.trackFrom(6, wait=True)
    assert np.array_equal(logic.getMask(1, 8), mask_at(44, 90))
    assert np.array_equal(logic.getMask(other, 8), kept)
    logic.trackFrom(6, "backward", wait=True)
    assert np.array_equal(logic.getMask(other, 5), np.roll(kept, -6, axis=1))


def test_good_frames_are_kept_unless_asked(logic: LogicCore) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    logic.markGood([4, 5])
    logic.setMask(1, mask_at(30, 90), frame=2)
    logic.track(start=2, wait=True)
    assert np.array_equal(logic.getMask(1, 4), mask_at(58, 60))
    assert np.array_equal(logic.getMask(1, 6), mask_at(38, 90))
    logic.track(start=2, overwriteGood=True, wait=True)
    assert np.array_equal(logic.getMask(1, 4), mask_at(34, 90))
    logic.markGood(4, good=False)
    assert logic.session is not None
    assert list(logic.session.good) == [5]


def test_only_some_objects_can_be_tracked(logic: LogicCore) -> None:
    other = logic.addObject("liver")
    logic.addPoint(1, 50, 60, frame=0)
    logic.addPoint(other, 100, 30, frame=0)
    logic.track(objects=[other], wait=True)
    assert logic.getMask(other, 5).any()
    assert not logic.getMask(1, 5).any()


def test_cancel_in_the_middle_keeps_what_was_written(logic: LogicCore) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    job = logic.track()
    while job.done < 4:
        logic.processEvents()
    logic.cancel()
    assert job.status == "cancelled"
    assert logic.wait(0)
    for _ in range(3 * FRAMES):
        logic.processEvents()
    assert [k for k in range(FRAMES) if logic.getMask(1, k).any()] == [0, 1, 2, 3]
    logic.track(wait=True)
    assert logic.getMask(1, FRAMES - 1).any()


def test_a_dead_worker_is_reported_and_started_anew(logic: LogicCore, client: FakeClient) -> None:
    errors: list[str] = []
    logic.onError = errors.append
    logic.addPoint(1, 50, 60, frame=0)
    job = logic.track()
    while job.done < 4:
        logic.processEvents()
    client.kill()
    logic.processEvents()
    assert job.status == "failed"
    assert "stopped unexpectedly" in errors[0]
    assert logic.getMask(1, 3).any()
    logic.track(start=4, wait=True)
    assert client.starts == 2
    assert logic.getMask(1, FRAMES - 1).any()
    assert client.sent.count("load_model") == client.sent.count("open_frames") == 2


def test_a_failure_of_the_engine_is_an_error_in_its_words(
    logic: LogicCore, client: FakeClient
) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    client.fail_next = "not enough memory on the GPU; choose a smaller model"
    with pytest.raises(EngineError, match="choose a smaller model"):
        logic.track(wait=True)
    logic.track(wait=True)
    assert logic.getMask(1, 5).any()


def test_the_model_is_loaded_again_only_after_another_choice(
    logic: LogicCore, client: FakeClient
) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.preview(0, wait=True)
    logic.setModel("demo")
    logic.preview(0, wait=True)
    assert client.sent.count("load_model") == 1
    logic.setModel("demo", pruning="off")
    logic.preview(0, wait=True)
    assert client.sent.count("load_model") == 2


def test_a_second_track_has_to_wait(logic: LogicCore) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    logic.track()
    with pytest.raises(InputError, match="tracking is in progress"):
        logic.track()
    with pytest.raises(InputError, match="tracking is in progress"):
        logic.removeObject(1)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (lambda logic: logic.addPoint(1, WIDTH, 5, frame=0), "outside the 160 x 120 frame"),
        (lambda logic: logic.addPoint(1, 5, 5, frame=FRAMES), "there is no frame"),
        (lambda logic: logic.addPoint(9, 5, 5, frame=0), "there is no object 9; objects: 1"),
        (lambda logic: logic.setBox(1, [5, 5, 500, 20], frame=0), "leaves the"),
        (lambda logic: logic.setBox(1, [50, 5, 20, 20], frame=0), "empty or inverted"),
        (lambda logic: logic.setMask(1, np.ones((3, 3), bool), frame=0), "3 x 3"),
        (lambda logic: logic.setMask(1, frame=0), "nothing is painted"),
        (lambda logic: logic.preview(0), "no prompt on frame 0"),
        (lambda logic: logic.track(), "no prompts"),
        (lambda logic: logic.correct(1, [[5, 5, 0]], frame=0), "no mask on frame 0"),
        (lambda logic: logic.correct(1, [[5, 5]], frame=0), "must be"),
        (lambda logic: logic.setClicks(1, [5, 5], frame=0), "must be"),
        (lambda logic: logic.markGood([FRAMES]), "there is no frame"),
        (lambda logic: logic.addObject("", "red"), "color"),
    ],
)
def test_bad_input_has_a_message_and_changes_nothing(
    logic: LogicCore, action: Any, text: str
) -> None:
    before = state(logic)
    with pytest.raises((InputError, PromptError), match=text):
        action(logic)
    assert state(logic) == before


def paint(session: Any, object_id: int, mask: np.ndarray) -> None:
    """Replace the image of a segment on the shown frame, as Segment Editor does."""
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, WIDTH - 1, 0, HEIGHT - 1, 0, 0)
    image.SetGeometryFromImageToWorldMatrix(session.video.ijk_to_ras)
    image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    assert image.GetScalarType() == vtk.VTK_UNSIGNED_CHAR
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        image,
        session.masks.proxy,
        session.objects.segment_id(object_id),
        slicer.vtkSlicerSegmentationsModuleLogic.MODE_REPLACE,
    )
