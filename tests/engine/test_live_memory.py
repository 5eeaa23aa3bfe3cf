"""A live session that is prompted again and again holds a bounded amount of memory."""

from __future__ import annotations

import numpy as np

from surgsam2 import PromptSet, Tracker
from surgsam2.engine.server.live_session import KEPT_PROMPTED, LiveSession, NewestFrame
from surgsam2.model.build import SurgSAM2Model
from tests.tracking.memory_size import memory_bytes


def test_prompting_for_ever_does_not_grow(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    session = LiveSession(a_model, 160, 120, NewestFrame(160, 120, lambda: None))
    sizes = []
    for index in range(36):
        image = a_clip[index % len(a_clip)]
        prompts = PromptSet().add(object_id=1, frame=index, points=[[40, 60, 1]])
        # in turn for the next frame and for one that the user has looked at
        if index % 2:
            session.prompt(prompts, image)
        else:
            session.prompt(prompts, None)
        session.step(image)
        sizes.append(memory_bytes(session.tracker))
    assert sizes[-1] == sizes[-2] == max(sizes), "as much as is kept, and no more"
    kept = prompted_frames(session.tracker)
    assert len(kept) == 1 + KEPT_PROMPTED
    assert kept[0] == 0, "the first says what the object is"
    assert kept[-1] >= 34, "the newest say how it looks now"


def prompted_frames(tracker: Tracker) -> list[int]:
    """Return the frames of the first object's prompts that the tracker keeps, ascending."""
    return sorted(memory[0] for memory in tracker.state_dict()["objects"][0]["conditioning"])


def test_the_first_and_the_newest_stay_in_both_directions(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    for reverse, kept in ((False, [0, 8, 10]), (True, [0, 2, 10])):
        tracker = Tracker(a_model, 160, 120, first_frame=11, reverse=reverse)
        for index in range(0, 12, 2):
            prompts = PromptSet().add(object_id=1, frame=index, points=[[40, 60, 1]])
            tracker.condition(a_clip[index], index, prompts)
        tracker.forget_prompted(2)
        assert prompted_frames(tracker) == kept
        tracker.forget_prompted(9)
        assert prompted_frames(tracker) == kept
