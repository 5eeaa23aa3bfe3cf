"""How fast would one job be on 8 to 64 cores? A simulation of its threads and pools.

A frame of recorded video passes four threads, as in a job: one decodes and resizes it, one of two
encodes it, the tracker tracks it, and one writes its PNG. At most two frames wait for the tracker.
The tracker and each encoder have half of the cores; with at least as many objects as cores, each
object has a core of its own.

What is assumed: an operation takes a + b / n on n cores, with a and b from the times measured with
one and with two threads; threads that want more cores than there are share them equally; waking
threads, the interpreter's lock, and the memory that all cores share cost nothing. So figures
beyond two cores are bounds, not forecasts. Nothing is fitted to the rates of whole jobs: those on
one and two cores tell how far the simulation is off.

    python docs/notes/experiments/core_plan.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

AHEAD = 2
"""Number of frames that are prepared ahead, and of encoders."""
FRAMES = 200
MORE = (8, 16, 32, 64)
"""Numbers of cores that no machine at hand has."""


@dataclass(frozen=True)
class Stage:
    """Wall milliseconds of a part of a frame, with one thread and with two."""

    one: float
    two: float

    def work(self, threads: int) -> tuple[float, float]:
        """Return the milliseconds of the part and the mean number of cores that it keeps busy."""
        divided = 2 * max(self.one - self.two, 0)
        wall = self.one - divided + divided / threads
        return wall, self.one / wall if wall else 1.0


@dataclass(frozen=True)
class Costs:
    """The parts of a frame of one network."""

    read: float
    """Decoding and resizing."""
    encode: Stage
    shared: Stage
    """Parts of tracking that objects share: mask motion, masks at the video's resolution."""
    per_object: Stage
    """Memory attention, mask decoder and memory encoder of one object."""
    write: float


COSTS = {
    "Hiera-S at 512": Costs(
        read=4.6, encode=Stage(252, 165), shared=Stage(0, 0), per_object=Stage(125, 75), write=2.0
    ),
    "the built-in model": Costs(
        read=4.4,
        encode=Stage(11.6, 7.6),
        shared=Stage(6.5, 5.0),
        per_object=Stage(24.4, 15.4),
        write=2.0,
    ),
}
"""Median times in bfloat16 of an AMD EPYC of family 26 with two cores and nothing else to do,
2026-11-29; those of an object with four objects."""


@dataclass
class Task:
    """Work in progress: what is left of it in milliseconds, and how many cores it wants."""

    left: float
    cores: float
    then: Callable[[], None]


@dataclass
class Job:
    """The threads of one job on some cores."""

    costs: Costs
    cores: int
    objects: int
    spread: bool = False
    """Whether fewer objects than cores are tracked side by side, with equal shares of the cores."""
    tasks: list[Task] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    now: float = 0.0
    _read: int = 0
    _encoding: int = 0
    _unencoded: int = 0
    _ready: int = 0
    _reading: bool = False
    _tracking: bool = False
    _to_write: int = 0
    _writing: bool = False

    def run(self) -> float:
        """Return the frames per second, without the first quarter."""
        self._begin()
        while self.tasks:
            wanted = sum(task.cores for task in self.tasks)
            pace = min(1.0, self.cores / wanted)
            step = min(task.left for task in self.tasks) / pace
            self.now += step
            for task in self.tasks:
                task.left -= step * pace
            finished = [task for task in self.tasks if task.left <= 1e-9]
            self.tasks = [task for task in self.tasks if task.left > 1e-9]
            for task in finished:
                task.then()
            self._begin()
        first = len(self.done) // 4
        return 1000 * (len(self.done) - 1 - first) / (self.done[-1] - self.done[first])

    def _add(self, stage: Stage, threads: int, then: Callable[[], None]) -> None:
        wall, cores = stage.work(threads)
        self.tasks.append(Task(wall, cores, then))

    def _begin(self) -> None:
        """Begin whatever can begin."""
        single, share = self.cores == 1, max(self.cores // 2, 1)
        waiting = self._unencoded + self._encoding + self._ready
        if not self._reading and self._read < FRAMES and waiting < AHEAD:
            self._reading = True
            self._add(Stage(self.costs.read, self.costs.read), 1, self._was_read)
        while self._unencoded and self._encoding < AHEAD and not single:
            self._unencoded, self._encoding = self._unencoded - 1, self._encoding + 1
            self._add(self.costs.encode, share, self._was_encoded)
        if not self._tracking and (self._ready or (single and self._unencoded)):
            self._tracking = True
            if single:
                self._unencoded -= 1
                self._add(self.costs.encode, 1, self._track_objects)
            else:
                self._ready -= 1
                self._track_objects()
        if not self._writing and self._to_write:
            self._writing = True
            self._add(Stage(self.costs.write, self.costs.write), 1, self._was_written)

    def _was_read(self) -> None:
        self._reading, self._read, self._unencoded = False, self._read + 1, self._unencoded + 1

    def _was_encoded(self) -> None:
        self._encoding, self._ready = self._encoding - 1, self._ready + 1

    def _track_objects(self) -> None:
        one, objects = self.costs.per_object, self.objects
        if 1 < self.cores <= objects:  # the pool: one object per core, round after round
            self.tasks.append(Task(one.one * objects / self.cores, self.cores, self._track_rest))
        elif self.spread:
            wall, cores = one.work(max(self.cores // objects, 1))
            self.tasks.append(Task(wall, cores * objects, self._track_rest))
        else:
            wall, cores = one.work(max(self.cores // 2, 1))
            self.tasks.append(Task(wall * objects, cores, self._track_rest))

    def _track_rest(self) -> None:
        self._add(self.costs.shared, max(self.cores // 2, 1), self._was_tracked)

    def _was_tracked(self) -> None:
        self._tracking, self._to_write = False, self._to_write + 1

    def _was_written(self) -> None:
        self._writing, self._to_write = False, self._to_write - 1
        self.done.append(self.now)


def main() -> None:
    """Print frames per second for one job, and for as many jobs of two cores as fit."""
    for name, costs in COSTS.items():
        for objects in (1, 4, 8):
            rates = {cores: Job(costs, cores, objects).run() for cores in (1, 2, *MORE)}
            one_job = ", ".join(f"{cores} cores {rate:.1f}" for cores, rate in rates.items())
            spread = [Job(costs, cores, objects, spread=True).run() for cores in MORE]
            pairs = ", ".join(f"{cores} cores {rates[2] * cores / 2:.0f}" for cores in MORE)
            print(f"{name}, {objects} objects: one job {one_job}")  # noqa: T201
            print(f"  objects always side by side: {[round(rate, 1) for rate in spread]}")  # noqa: T201
            print(f"  jobs of two cores side by side: {pairs} frames/s together")  # noqa: T201


if __name__ == "__main__":
    main()
