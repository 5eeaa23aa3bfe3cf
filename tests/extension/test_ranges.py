"""Changes of ranges of frames, undo and redo of everything, and the timeline."""

from __future__ import annotations

import numpy as np
import pytest

from surgsam2.errors import InputError
from tests.extension.conftest import FRAMES, LogicCore
from tests.extension.fake_client import FakeClient


def has_mask(logic: LogicCore, object_id: int = 1) -> list[int]:
    """Return the frames on which an object has a mask."""
    return [frame for frame in range(FRAMES) if logic.getMask(object_id, frame).any()]


@pytest.fixture
def tracked(logic: LogicCore) -> LogicCore:
    """One object, tracked through the whole clip from a point on frame 0."""
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    return logic


def test_absent_frames_have_no_mask_and_tracking_leaves_them(tracked: LogicCore) -> None:
    tracked.markAbsent(4, 7, [1])
    assert has_mask(tracked) == [0, 1, 2, 3, 8, 9, 10, 11]
    tracked.track(wait=True)
    assert has_mask(tracked) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert not tracked.session.review.stretches, "the user knows that it disappears there"


def test_a_prompt_on_an_absent_frame_says_that_it_is_visible(tracked: LogicCore) -> None:
    tracked.markAbsent(4, 7, [1])
    tracked.addPoint(1, 60, 60, frame=5)
    assert list(tracked.session.absent(1)) == [4, 6, 7]


def test_good_frames_are_not_changed(tracked: LogicCore) -> None:
    tracked.markGood([5, 6])
    tracked.eraseMasks(4, 8, [1])
    assert has_mask(tracked) == [0, 1, 2, 3, 5, 6, 9, 10, 11]
    with pytest.raises(InputError, match="good"):
        tracked.markAbsent(5, 6, [1])


def test_a_mask_is_copied_over_a_range(tracked: LogicCore) -> None:
    tracked.copyMasks(2, 5, 7, [1])
    for frame in (5, 6, 7):
        assert np.array_equal(tracked.getMask(1, frame), tracked.getMask(1, 2))
    tracked.markAbsent(9, 10, [1])
    with pytest.raises(InputError, match="no mask on frame 9"):
        tracked.copyMasks(9, 0, 3, [1])


def test_masks_are_copied_for_all_objects(tracked: LogicCore) -> None:
    other = tracked.addObject("other")
    tracked.setMask(other, tracked.getMask(1, 9), frame=2)
    empty = tracked.addObject("empty")
    tracked.copyMasks(2, 5, 7)
    assert np.array_equal(tracked.getMask(other, 6), tracked.getMask(other, 2))
    assert np.array_equal(tracked.getMask(1, 6), tracked.getMask(1, 2))
    assert not tracked.getMask(empty, 6).any()


def test_masks_are_interpolated_between_two_corrections(tracked: LogicCore) -> None:
    truth = [tracked.getMask(1, frame).copy() for frame in range(FRAMES)]
    tracked.markGood(5)
    tracked.eraseMasks(1, 3)
    tracked.interpolate(0, 8)
    assert has_mask(tracked) == list(range(FRAMES))
    assert np.array_equal(tracked.getMask(1, 5), truth[5]), "a good frame is not changed"
    for frame in (2, 4, 6):
        mask = tracked.getMask(1, frame)
        assert np.count_nonzero(mask & truth[frame]) > 0.6 * np.count_nonzero(mask | truth[frame])
    tracked.eraseMasks(8, 8)
    with pytest.raises(InputError, match="tool has no masks on both frames 0 and 8"):
        tracked.interpolate(8, 0)
    with pytest.raises(InputError, match="no frame between 3 and 4"):
        tracked.interpolate(3, 4)


@pytest.mark.parametrize(
    "change",
    ["track", "absent", "erase", "good", "copy", "import", "interpolate", "remove", "prompts"],
)
def test_everything_can_be_undone_and_redone(
    tracked: LogicCore, change: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def state() -> tuple[object, ...]:
        session = tracked.session
        styles = tuple(session.objects)
        masks = [tracked.getMask(s.id, frame).tobytes() for s in styles for frame in range(FRAMES)]
        marks = list(session.good), [list(session.absent(style.id)) for style in styles]
        removed = change == "remove"  # other changes forget the scores of masks that they replace
        measured = str([session.review.measured(style.id) for style in styles]) if removed else ""
        return styles, masks, session.prompt_set(), marks, measured

    folder = tmp_path_factory.mktemp("export")
    if change == "import":
        tracked.exportResults(folder / "out", ["png"])
        tracked.eraseMasks(0, FRAMES - 1)
    before = state()
    if change == "track":
        tracked.setBox(1, [10, 10, 40, 50], frame=3)
        before = state()
        tracked.track(wait=True)
    elif change == "absent":
        tracked.markAbsent(2, 6)
    elif change == "erase":
        tracked.eraseMasks(0, FRAMES - 1)
    elif change == "good":
        tracked.markGood(range(3, 9))
    elif change == "copy":
        tracked.copyMasks(0, 4, 9)
    elif change == "interpolate":
        tracked.eraseMasks(4, 6)
        before = state()
        tracked.interpolate(2, 9)
    elif change == "remove":
        tracked.markAbsent(5, 6)
        before = state()
        tracked.removeObject(1)
    elif change == "prompts":
        tracked.savePrompts(folder / "prompts.json")
        other = tracked.addObject("other")
        tracked.setMask(other, tracked.getMask(1, 4), frame=4)
        tracked.savePrompts(folder / "more.json")
        tracked.removeObject(other)
        before = state()
        tracked.loadPrompts(folder / "more.json")
    else:
        tracked.importMasks(folder / "out" / "masks")
    after = state()
    assert after != before
    assert tracked.undo()
    assert state() == before
    assert tracked.redo()
    assert state() == after
    assert tracked.undo()
    assert state() == before


def test_a_track_that_failed_leaves_nothing_to_undo(logic: LogicCore, client: FakeClient) -> None:
    logic.addPoint(1, 50, 60, frame=0)
    client.fail_next = "out of memory"
    logic.track()
    logic.wait(10)
    assert logic.undo(), "the point is undone"
    assert logic.session.prompt_set().frames == ()


def test_a_track_in_progress_cannot_be_undone(tracked: LogicCore) -> None:
    tracked.track()
    with pytest.raises(InputError, match="in progress"):
        tracked.undo()
    tracked.cancel()


def test_marks_are_saved_as_ranges_and_older_scenes_are_read(tracked: LogicCore) -> None:
    tracked.markGood([0, 3, 4, 5, 9])
    assert tracked.session.good.text == "0 3-5 9"
    tracked.session.good.text = "1 2 7"
    assert list(tracked.session.good) == [1, 2, 7]


def test_the_timeline_knows_the_state_of_every_frame(tracked: LogicCore) -> None:
    from SurgSAM2Lib.session.timeline import State, Timeline

    tracked.markAbsent(4, 6, [1])
    tracked.markGood(9)
    tracked.setMask(1, tracked.getMask(1, 8), frame=8)
    rows = Timeline(tracked.session).rows
    wanted = [State.TRACKED] * FRAMES
    wanted[0], wanted[8], wanted[9] = State.PROMPTED, State.CORRECTED, State.GOOD
    wanted[4:7] = [State.ABSENT] * 3
    assert rows[1].tolist() == wanted


def test_the_timeline_follows_a_track(logic: LogicCore) -> None:
    """An hour of video; docs/notes/experiments/timeline_times.py measures the time."""
    from SurgSAM2Lib.session.timeline import State, Timeline

    from surgsam2.results.review import Measurements

    for _ in range(7):
        logic.addObject()
    measurements = Measurements(90_000)
    for style in logic.session.objects:
        measurements.put(style.id, "area", np.full(90_000, np.nan, np.float32))
    logic.session.review.measurements = measurements
    timeline = Timeline(logic.session)
    mask = np.ones((4, 4), bool)
    for frame in range(20):
        for style in logic.session.objects:
            measurements.measure(frame, style.id, mask)
        timeline.update(frame)
    for row in timeline.rows.values():
        assert (row[:20] == State.TRACKED).all()
        assert (row[20:] == State.UNKNOWN).all()
