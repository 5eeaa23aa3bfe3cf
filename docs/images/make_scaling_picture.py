"""Simulate 1,000 GPUs with the scheduler's real code, and draw ``scaling.png``.

    python docs/images/make_scaling_picture.py

It needs matplotlib and takes about two minutes. The made-up cluster has GPUs of different speed,
slow ones among them, machines that fail and machines that are preempted. It prints the table of
docs/scaling.md.
"""

from __future__ import annotations

import heapq
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from surgsam2.cluster.scheduler import FreeWorker, Piece, Scheduler

GPUS = 1000
VIDEOS = 10_000
FRAMES_PER_SECOND = 25.0
"""Frame rate of the made-up videos, in frames per second."""
RATE = 50.0
"""Frames per second that a GPU tracks; the slow ones do a quarter."""
SLOW = 0.02
"""Share of slow GPUs."""
FAILURE_HOURS = 168.0
"""Mean time between failures of one machine; what it does at that moment is lost."""
PREEMPTION_HOURS = 12.0
"""Mean time between preemptions of one machine, which saves its present frame."""
DOWN_SECONDS = 300.0
"""Seconds until a machine is replaced."""
CHUNK_SECONDS = 1.5
"""Seconds per chunk to open the video, load the state and store the results."""
CHUNKS = (500, 1500, 5000, 20_000, 1_000_000)

TRACK = ("track",)


@dataclass
class Result:
    """What became of the time of all GPUs, in hours."""

    useful: float = 0.0
    overhead: float = 0.0
    lost: float = 0.0
    down: float = 0.0
    idle: float = 0.0
    hours: float = 0.0
    """Hours until everything is tracked."""
    decisions: int = 0
    decision_seconds: float = 0.0
    busy: list[tuple[float, int]] = field(default_factory=list)
    """Hours and number of GPUs that track."""


def simulate(chunk: int, seed: int = 0) -> Result:
    """Track all videos on the made-up cluster.

    Args:
        chunk: number of frames of a chunk.
        seed: of the lengths, speeds and accidents.
    """
    random = Random(seed)
    frames = [
        min(8.0, random.lognormvariate(0.0, 0.6)) * 3600 * FRAMES_PER_SECOND for _ in range(VIDEOS)
    ]
    done = [0.0] * VIDEOS
    speeds = [
        RATE * (0.25 if random.random() < SLOW else random.lognormvariate(0, 0.1))
        for _ in range(GPUS)
    ]
    scheduler, result = Scheduler(frames), Result()
    events: list[tuple[float, int, str, int]] = [(0.0, gpu, "free", -1) for gpu in range(GPUS)]
    waiting: dict[str, FreeWorker] = {}
    running = 0
    now = 0.0
    while events and not scheduler.finished:
        now, gpu, kind, video = heapq.heappop(events)
        if kind == "done":
            running -= 1
            scheduler.tracked(Piece(video), 1 - done[video] / frames[video])
            if done[video] >= frames[video]:
                scheduler.complete(video)  # other processors write the files
        elif kind == "lost":
            running -= 1
            scheduler.lost(Piece(video), "failure")
        elif kind == "preempted":
            running -= 1
            scheduler.tracked(Piece(video), 1 - done[video] / frames[video])
        if kind in ("lost", "preempted"):
            result.down += DOWN_SECONDS
            heapq.heappush(events, (now + DOWN_SECONDS, gpu, "free", -1))
        else:
            waiting[str(gpu)] = FreeWorker(TRACK, speeds[gpu])
        began = time.perf_counter()
        given = scheduler.assign(waiting)
        result.decision_seconds += time.perf_counter() - began
        result.decisions += 1
        for name, piece in given:
            del waiting[name]
            running += 1
            event = _task(random, result, now, int(name), piece.video, chunk, frames, done, speeds)
            heapq.heappush(events, event)
        if not result.busy or now - result.busy[-1][0] * 3600 > 30:
            result.busy.append((now / 3600, running))
    result.busy.append((now / 3600, running))
    result.hours = now / 3600
    for name in ("useful", "overhead", "lost", "down"):
        setattr(result, name, getattr(result, name) / 3600)
    spent = result.useful + result.overhead + result.lost + result.down
    result.idle = max(0.0, GPUS * result.hours - spent)
    return result


def _task(
    random: Random,
    result: Result,
    now: float,
    gpu: int,
    video: int,
    chunk: int,
    frames: list[float],
    done: list[float],
    speeds: list[float],
) -> tuple[float, int, str, int]:
    """Return the event that ends a chunk, and count its time."""
    steps = min(chunk, frames[video] - done[video])
    seconds = CHUNK_SECONDS + steps / speeds[gpu]
    failure = random.expovariate(1 / (FAILURE_HOURS * 3600))
    preemption = random.expovariate(1 / (PREEMPTION_HOURS * 3600))
    if min(failure, preemption) >= seconds:
        done[video] += steps
        result.useful += seconds - CHUNK_SECONDS
        result.overhead += CHUNK_SECONDS
        return now + seconds, gpu, "done", video
    if failure < preemption:
        result.lost += failure
        return now + failure, gpu, "lost", video
    tracked = max(0.0, preemption - CHUNK_SECONDS)
    done[video] += tracked * speeds[gpu]
    result.useful += tracked
    result.overhead += preemption - tracked
    return now + preemption, gpu, "preempted", video


def main() -> None:
    """Simulate, print the table and draw the picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    results = {}
    rows = ["| frames per chunk | hours | useful | overhead | lost | down | idle |"]
    rows.append("|---|---|---|---|---|---|---|")
    for chunk in CHUNKS:
        result = results[chunk] = simulate(chunk)
        total = GPUS * result.hours
        parts = (result.useful, result.overhead, result.lost, result.down, result.idle)
        cells = " | ".join(f"{100 * part / total:.2f} %" for part in parts)
        rows.append(f"| {_name(chunk)} | {result.hours:.2f} | {cells} |")
        each = 1e6 * result.decision_seconds / result.decisions
        sys.stderr.write(f"{chunk}: {result.decisions} decisions of {each:.1f} microseconds\n")
    sys.stdout.write("\n".join(rows) + "\n")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6))
    colors = {"overhead": "#c9a227", "lost": "#b23a48", "down": "#7d8597", "idle": "#c8ccd4"}
    bottoms = [0.0] * len(CHUNKS)
    for name, color in colors.items():
        heights = [100 * getattr(r, name) / (GPUS * r.hours) for r in results.values()]
        left.bar(range(len(CHUNKS)), heights, bottom=bottoms, color=color, label=name, width=0.6)
        bottoms = [b + h for b, h in zip(bottoms, heights, strict=True)]
    left.set_xticks(range(len(CHUNKS)), [_name(chunk) for chunk in CHUNKS])
    left.set_xlabel("frames per chunk")
    left.set_ylabel("GPU time that is not useful (%)")
    left.legend(frameon=False)
    for chunk, style in ((1500, "-"), (1_000_000, "--")):
        hours, busy = zip(*results[chunk].busy, strict=True)
        right.plot(hours, busy, style, color="#1f4e79", linewidth=1, label=_name(chunk))
    right.set_xlabel("hours")
    right.set_ylabel("GPUs that track")
    right.set_ylim(0, GPUS * 1.05)
    right.legend(frameon=False, title="frames per chunk")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(Path(__file__).parent / "scaling.png", dpi=120)


def _name(chunk: int) -> str:
    return "whole video" if chunk == 1_000_000 else f"{chunk:,}"


if __name__ == "__main__":
    main()
