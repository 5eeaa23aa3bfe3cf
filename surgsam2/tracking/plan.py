"""Which frames of a recorded video are tracked, in which direction."""

from __future__ import annotations

from dataclasses import dataclass

from surgsam2.errors import InputError
from surgsam2.prompts import PromptSet
from surgsam2.tracking.options import Direction, TrackingOptions
from surgsam2.video import Video


@dataclass(frozen=True)
class TrackingPlan:
    """Frames ``start <= index < stop`` and the direction in which they are tracked."""

    start: int
    """Index of the first frame."""
    stop: int
    """Index of the frame after the last."""
    direction: Direction
    turn: int
    """For `both`: frames before this index are tracked backward first, for some object."""

    @property
    def frames(self) -> int:
        """Number of frames that get a result."""
        return self.stop - self.start

    def finished(self, steps: int) -> range:
        """Return the frames that have a result after a number of steps."""
        done = max(0, steps - (self.steps - self.frames))
        if self.direction == "backward":
            return range(max(self.start, self.stop - done), self.stop)
        return range(self.start, min(self.stop, self.start + done))

    @property
    def steps(self) -> int:
        """Number of frames that the tracker runs on, in both passes together."""
        return self.frames + max(0, min(self.turn, self.stop) - self.start)


def plan_tracking(video: Video, prompts: PromptSet, options: TrackingOptions) -> TrackingPlan:
    """Check prompts and range against the video.

    Args:
        video: the video to track in.
        prompts: the prompts of all objects.
        options: `direction`, `start` and `stop` count.

    Raises:
        PromptError: the prompts do not fit the video, or none of them reaches the range.
        InputError: the range is empty or begins outside of the video. A `stop` beyond the end
            is the end.
    """
    if not isinstance(prompts, PromptSet):
        raise InputError(
            f"prompts must be a PromptSet, as load_prompts gives, got {type(prompts).__name__}"
        )
    start, stop, direction = options.start, options.stop, options.direction
    prompts.validate(video.width, video.height, video.frame_count)
    first, last, count = prompts.frames[0], prompts.frames[-1], video.frame_count
    begin = start if start is not None else first if direction == "forward" else 0
    end = last + 1 if direction == "backward" else count
    if stop is not None:
        end = min(stop, count)
    if not 0 <= begin < end <= count:
        raise InputError(
            f"frame range start {begin}, stop {end} is empty or outside the video: "
            f"it has frames 0 to {count - 1}, and stop is not included"
        )
    if direction == "forward" and first >= end:
        raise InputError(
            f"stop {end} is not after the first prompt (frame {first}), so a forward track has "
            "nothing to do; raise stop, or use direction backward or both"
        )
    if direction == "backward" and last < begin:
        raise InputError(
            f"start {begin} is after the last prompt (frame {last}), so a backward track has "
            "nothing to do; lower start, or use direction forward or both"
        )
    turn = max(obj.prompts[0].frame for obj in prompts.objects) if direction == "both" else 0
    return TrackingPlan(begin, end, direction, turn)
