"""A long campaign: damaged input for every parser, then kill-and-resume, for a fixed time.

    python -m tests.reliability.campaign --minutes 20 --kills 200

Inputs are read in forked processes with a limit of memory, so that an interpreter that
crashes or hangs is noticed, and the campaign goes on. What fails is kept for study in
``--keep``. Prints a table of counts; the exit code is 1 when anything failed. POSIX only.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from tests.reliability.targets import CORPORA, TARGETS, Target

BATCH = 50
HANG_SECONDS = 30
"""Processor time of one input; a longer one counts as hanging, however busy the machine is."""
WAIT_SECONDS = 600
"""Time of one input by the clock, in case it waits for something."""
MEMORY = 12 * 2**30
"""Address space of a child, in bytes: an input that wants more is an error."""


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="for fuzzing (%(default)s)")
    parser.add_argument("--kills", type=int, default=0, help="kill-and-resume cycles after it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", default="fuzz-failures", help="folder for what fails")
    parser.add_argument("--inputs", type=int, default=10**9, help="end earlier after so many")
    parser.add_argument("--only", nargs="*", default=[], help="names of parsers")
    args = parser.parse_args()
    targets = [t for t in (*TARGETS, *CORPORA) if not args.only or t.name in args.only]
    keep = Path(args.keep)
    counts = {target.name: Counter[str]() for target in targets}
    end, batch = time.monotonic() + 60 * args.minutes, args.seed * 10**6
    most = args.inputs // len(targets)
    while time.monotonic() < end and min(c["inputs"] for c in counts.values()) < most:
        for target in targets:
            counts[target.name].update(run_batch(target, batch, keep))
        batch += 1
    columns = ("inputs", "refused", "taken", "other errors", "crashes", "hangs")
    _say("| parser | " + " | ".join(columns) + " |")
    _say("|---|" + "---:|" * len(columns))
    total = sum(counts.values(), Counter())
    for name, count in (*counts.items(), ("all", total)):
        _say(f"| {name} | " + " | ".join(str(count[column]) for column in columns) + " |")
    failed = total["other errors"] + total["crashes"] + total["hangs"]
    if args.kills:
        from tests.reliability.kills import kill_and_resume

        failed += kill_and_resume(args.kills, args.seed)
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run_batch(target: Target, batch: int, keep: Path) -> Counter[str]:
    """`BATCH` inputs in one child; when it dies, the rest of them in further children."""
    counts: Counter[str] = Counter()
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        while done < BATCH:
            answers, end = _child(target, batch, done, Path(folder))
            counts.update(answers)
            counts["inputs"] += len(answers)
            done += len(answers)
            if end != "finished":
                counts[end] += 1
                counts["inputs"] += 1
                done += 1
            for answer in (*answers, end):
                if answer in ("other errors", "crashes", "hangs"):
                    name = target.name.replace(" ", "_")
                    _say(f"{answer}: {target.name}, batch {batch}")
                    shutil.copytree(folder, keep / f"{name}_{batch}", dirs_exist_ok=True)
    return counts


def seed_of(target: Target, batch: int, number: int) -> str:
    """Makes an input again: `target.write(Random(seed), folder)`."""
    return f"{target.name} {batch} {number}"


def _child(target: Target, batch: int, first: int, folder: Path) -> tuple[list[str], str]:
    """What became of each input, and of the process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work(target, batch, first, folder, writer)
    os.close(writer)
    answers: list[str] = []
    end = "finished"
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while True:
            if not select.select([pipe], [], [], WAIT_SECONDS)[0]:
                os.kill(child, signal.SIGKILL)
                end = "hangs"
                break
            letters = pipe.read(1)
            if not letters:
                break
            answers.append({b"r": "refused", b"t": "taken", b"e": "other errors"}[letters])
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if end == "finished" and code != 0:
        end = "hangs" if code == -signal.SIGVTALRM else "crashes"
    return answers, end


def _work(target: Target, batch: int, first: int, folder: Path, writer: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for number in range(first, BATCH):
        place = folder / f"{number}"
        place.mkdir(exist_ok=True)
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG_SECONDS)
        try:
            taken = target.try_one(Random(seed_of(target, batch, number)), place)
            answer = b"t" if taken else b"r"
        except BaseException:
            answer = b"e"
            (place / "traceback.txt").write_text(traceback.format_exc())
        if answer != b"e":
            shutil.rmtree(place, ignore_errors=True)
        os.write(writer, answer)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
