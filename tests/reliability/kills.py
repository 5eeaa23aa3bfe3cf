"""Kills a run at a random moment, again and again, then lets it finish and compares.

    python -m tests.reliability.kills --kills 1000 --seed 1

Prints a line after every run and a table by direction, by format and by part of a run at the end.
POSIX only.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import mmap
import os
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch

import surgsam2
from surgsam2 import PromptSet
from surgsam2.model.build import SurgSAM2Model
from tests.conftest import demo_config_at, disc, telling_weights
from tests.reliability.checks import unreadable_files
from tests.reliability.conftest import HEIGHT, WIDTH, contents, run, write_short_file

DIRECTIONS = ("forward", "backward", "both")
FORMATS = ("png", "overlay", "coco", "csv", "scene")
FRAMES = 7
"""Length of the clip: a run takes some tenths of a second."""
HANG_SECONDS = 60
"""A run that takes more processor time than this ends the campaign."""
WAIT_SECONDS = 1800
"""A run that takes longer than this by the clock ends it too."""
PARTS = ("before the first frame", "among the frames", "after the last frame")
ALWAYS = "with every format"
PRODUCTS = {
    "masks/": "png",
    "overlay.mp4": "overlay",
    "annotations.coco.json": "coco",
    "frames.csv": "csv",
    "scene.mrb": "scene",
    "prompts": ALWAYS,
}
"""The format of each file, by the beginning of its name."""


def main() -> int:
    """Run the campaign; the exit code is 1 when a file differed or could not be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10**6, help="end earlier after these")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    return 1 if kill_and_resume(args.kills, args.seed, args.minutes) else 0


def kill_and_resume(cycles: int, seed: int, minutes: float = 10**6) -> int:
    """Kill runs by SIGKILL at a random time after the start of a run or of its resumption.

    Every run has a random direction and random formats; it is killed one to four times, then
    finished. The moment is random in a part of the run that is drawn before.

    Args:
        cycles: number of kills.
        seed: decides on everything but the moments.
        minutes: after these no other run begins.

    Returns:
        How many files differed from those of runs without interruption, or were unreadable
        after a kill.
    """
    torch.set_num_threads(1)
    random = Random(seed)
    counts: Counter[str] = Counter()
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, file = small_model(folder), write_short_file(folder / "clip.mp4", FRAMES)
        _import_what_runs_need(model, file, folder / "first")
        whole, steps, seen = {}, {}, Steps()
        for direction in DIRECTIONS:
            out = folder / direction
            _finished(model, file, out, on_step=seen.tell, direction=direction, formats=FORMATS)
            whole[direction], steps[direction] = _comparable(out, FORMATS), seen.done
        while counts["kills"] < cycles and time.monotonic() < end:
            direction = random.choice(DIRECTIONS)
            formats = tuple(random.sample(FORMATS, random.randint(1, len(FORMATS))))
            out = folder / f"run{counts['runs']}"
            counts["runs"] += 1
            for _ in range(min(random.randint(1, 4), cycles - counts["kills"])):
                options = {"direction": direction, "formats": formats}
                part = _killed(model, file, out, random, steps[direction], **options)
                if part is None:
                    break  # it had finished before
                counts.update(["kills", direction, part, *formats])
                counts["unreadable"] += len(unreadable_files(out))
            _finished(model, file, out, direction=direction, formats=formats)
            found = _comparable(out, formats)
            expected = {
                n: d for n, d in whole[direction].items() if _format_of(n) in {*formats, ALWAYS}
            }
            differing = [n for n in expected | found if expected.get(n) != found.get(n)]
            counts["differing"] += len(differing)
            shutil.rmtree(out)
            _say(
                f"{counts['kills']} kills in {counts['runs']} runs: {counts['differing']} "
                f"differing files {differing}, {counts['unreadable']} unreadable files"
            )
    for kind in (*DIRECTIONS, *FORMATS, *PARTS):
        _say(f"| {kind} | {counts[kind]} |")
    return counts["differing"] + counts["unreadable"]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _format_of(name: str) -> str:
    return next(kind for start, kind in PRODUCTS.items() if name.startswith(start))


def _comparable(out: Path, formats: tuple[str, ...]) -> dict[str, bytes]:
    """Return what must not depend on interruptions: the files, and a scene's members.

    Raises:
        AssertionError: the folder holds other files than those of the formats.
    """
    found = contents(out)
    assert found.pop(".surgsam2", b"")
    if scene := found.pop("scene.mrb", b""):  # archives hold the time at which they were written
        found |= {f"scene.mrb/{name}": data for name, data in _members(scene)}
    assert {_format_of(name) for name in found} == {*formats, ALWAYS}, (sorted(found), formats)
    return found


def _members(archive: bytes) -> list[tuple[str, bytes]]:
    members = []
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        for name in file.namelist():
            data = file.read(name)
            inner = _members(data) if name.endswith(".mrb") else [("", data)]
            members += [(f"{name}/{end}", content) for end, content in inner]
    return members


def _import_what_runs_need(model: SurgSAM2Model, file: Path, out: Path) -> None:
    """Import here, once, what the runs would import in each child."""
    names = out.with_name("modules.txt")

    def work() -> None:
        before = set(sys.modules)
        run(model, file, prompts(), out, formats=FORMATS)
        new = [name for name in sys.modules if name not in before]
        names.write_text("\n".join(new))

    importlib.import_module("surgsam2.mrml.scene_stream")
    if code := _in_child(work):
        raise RuntimeError(f"the first run ended with {code}")
    for name in names.read_text().splitlines():
        with contextlib.suppress(ModuleNotFoundError):  # compiled modules have made-up parts
            importlib.import_module(name)


def prompts() -> PromptSet:
    """Object 1 on frames 1 and 5, object 2 on frame 3."""
    prompts = PromptSet().add(object_id=1, frame=1, mask=disc(WIDTH, HEIGHT, 30, 36, 12))
    prompts.add(object_id=1, frame=5, box=[20, 20, 60, 50])
    return prompts.add(object_id=2, frame=3, mask=disc(WIDTH, HEIGHT, 60, 36, 10))


def small_model(folder: Path) -> SurgSAM2Model:
    """The 64-pixel network with random weights that answer to what they see."""
    config, checkpoint = demo_config_at(64, folder), folder / "telling.pt"
    torch.save({"model": telling_weights()}, checkpoint)
    return surgsam2.load_model(checkpoint, config=str(config), device="cpu")


def _finished(model: SurgSAM2Model, file: Path, out: Path, **options: Any) -> None:
    """Begin a run or continue it to its end."""
    code = _in_child(lambda: run(model, file, prompts(), out, resume=True, **options))
    if code:
        raise RuntimeError(f"a run that was to finish ended with {code}")


class Steps:
    """The number of steps that a run has done, which a child tells its parent."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, struct.calcsize("q"))

    def tell(self, steps: int) -> None:
        """Say that so many are done; in the child."""
        self._shared[:] = struct.pack("q", steps)

    @property
    def done(self) -> int:
        """Return what was told last; in the parent."""
        (steps,) = struct.unpack("q", self._shared)
        return int(steps)


def _killed(
    model: SurgSAM2Model, file: Path, out: Path, random: Random, total: int, **options: Any
) -> str | None:
    """Return the part of the run in which it was killed; None when it had finished before.

    The moment is random: within 0.3 seconds after the start, within two frames' time after a
    random step, or within the 0.4 seconds that the end of a run takes at most.
    """
    every = random.randint(1, 4)
    step = random.choice([0, random.randint(1, total), random.randint(1, total), total])
    delay = random.uniform(0, 0.4 if step == total else 0.1 if step else 0.3)
    seen = Steps()

    def die_soon() -> None:
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()

    def work() -> None:
        if not step:
            die_soon()
        options.update(resume=True, checkpoint_every=every)
        run(model, file, prompts(), out, on_step=on_step, **options)

    def on_step(steps: int) -> None:
        seen.tell(steps)
        if steps == step:
            die_soon()

    code = _in_child(work)
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a run that was to be killed ended with {code}")
    if code == 0:
        return None
    return PARTS[2 if seen.done == total else 1 if seen.done else 0]


def _in_child(work: Callable[[], object]) -> int:
    """Do something in a forked process; returns its exit code, negative for a signal.

    All runs are in children: this process stays one without threads, decoders and scenes, so
    that each child begins alike.
    """
    child = os.fork()
    if child == 0:
        code = 1
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG_SECONDS)
        signal.alarm(WAIT_SECONDS)
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
