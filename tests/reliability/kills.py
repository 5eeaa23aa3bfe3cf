"""Kill a run at a random moment, again and again, then let it finish and compare."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from random import Random

import torch

import surgsam2
from surgsam2.model.build import SurgSAM2Model
from tests.conftest import demo_config_at
from tests.reliability.checks import unreadable_files
from tests.reliability.conftest import contents, prompts_for_two, run, write_short_file

DIRECTIONS = ("forward", "backward", "both")


def kill_and_resume(cycles: int, seed: int) -> int:
    """`cycles` kills, by SIGKILL at a random time after the start of a run or of its resumption.

    Every run is killed one to four times, then finished.

    Returns:
        How many files differed from those of runs without interruption, or were unreadable
        after a kill.
    """
    torch.set_num_threads(1)
    random = Random(seed)
    kills = runs = differing = unreadable = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, file = small_model(folder), write_short_file(folder / "clip.mp4")
        whole = {}
        for direction in DIRECTIONS:
            run(model, file, prompts_for_two(), folder / direction, direction=direction)
            whole[direction] = contents(folder / direction)
        while kills < cycles:
            direction = random.choice(DIRECTIONS)
            out = folder / f"run{runs}"
            runs += 1
            for _ in range(min(random.randint(1, 4), cycles - kills)):
                if not _killed(model, file, out, direction, random):
                    break  # it had finished before
                kills += 1
                unreadable += len(unreadable_files(out))
            run(model, file, prompts_for_two(), out, direction=direction, resume=True)
            found = contents(out)
            names = whole[direction].keys() | found.keys()
            differing += sum(whole[direction].get(n) != found.get(n) for n in names)
            shutil.rmtree(out)
            sys.stdout.write(
                f"{kills} kills in {runs} runs: {differing} differing files, "
                f"{unreadable} unreadable files\n"
            )
            sys.stdout.flush()
    return differing + unreadable


def small_model(folder: Path) -> SurgSAM2Model:
    """The 128-pixel network with random weights that answer to what they see."""
    config = demo_config_at(128, folder)
    return surgsam2.load_model("demo", config=str(config), device="cpu")


def _killed(model: SurgSAM2Model, file: Path, out: Path, direction: str, random: Random) -> bool:
    """Whether the process was killed; False when it had finished before.

    The moment is random: within half a second after the start, or within two frames' time
    after a random step.
    """
    every = random.randint(1, 4)
    step = random.choice([0, random.randint(1, 16)])
    delay = random.uniform(0, 0.15 if step else 0.5)

    def die_soon() -> None:
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()

    def on_step(steps: int) -> None:
        if steps == step:
            die_soon()

    child = os.fork()
    if child == 0:
        code = 1
        try:
            if not step:
                die_soon()
            run(
                model,
                file,
                prompts_for_two(),
                out,
                on_step=on_step,
                direction=direction,
                resume=True,
                checkpoint_every=every,
            )
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a run that was to be killed ended with {code}")
    return code != 0
