"""Fuzzes doors with coverage, one after the other: python -m tests.fuzz --seconds 30.

It needs the package atheris. New inputs go to ``--found``; those that end in an error are kept
there as ``DOOR-crash-*``, ``DOOR-timeout-*`` or ``DOOR-oom-*``. A table is printed at the end; the
exit code is 1 when any input ended in an error. With ``--keep N`` the N smallest of the new inputs
that reach new code are added to the corpus of each door.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
SECONDS_PER_INPUT = 10
MEGABYTES = 2500
"""Memory of a process, of which the packages themselves take the first 600."""


def main() -> int:
    """Fuzz the doors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="for each door (%(default)s)")
    parser.add_argument("--found", default="fuzz-found", help="folder for what is found")
    parser.add_argument("--only", nargs="*", help="names of doors")
    parser.add_argument("--keep", type=int, default=0, help="new inputs to keep in each corpus")
    args = parser.parse_args()
    found = Path(args.found)
    names = sorted(path.name for path in CORPUS.iterdir())
    failed = 0
    _say("| door | inputs | inputs a second | branches at first | branches at the end | errors |")
    _say("|---|---:|---:|---:|---:|---:|")
    for name in args.only or names:
        place = found / name
        place.mkdir(parents=True, exist_ok=True)
        options = [f"-max_total_time={args.seconds}", f"-artifact_prefix={found / name}-"]
        log = _fuzz(name, [place, CORPUS / name], options)
        (found / f"{name}.log").write_text(log, encoding="utf-8")
        errors = len(list(found.glob(f"{name}-*-*")))
        failed += errors
        _say(f"| {name} | {' | '.join(_figures(log))} | {errors} |")
        if args.keep and not errors:
            _keep(name, place, args.keep)
    return 1 if failed else 0


def _fuzz(name: str, folders: list[Path], options: list[str]) -> str:
    """Run libFuzzer on one door and return what it prints."""
    command = [sys.executable, "-m", "tests.fuzz.one_door", name, *map(str, folders), *options]
    limits = [f"-timeout={SECONDS_PER_INPUT}", f"-rss_limit_mb={MEGABYTES}", "-max_len=8192"]
    done = subprocess.run(
        [*command, *limits], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.stdout.decode(errors="replace")


def _figures(log: str) -> tuple[str, str, str, str]:
    """Return inputs, inputs a second, and the branches covered at first and at the end."""
    covered = re.findall(r"(?:INITED|NEW|REDUCE|DONE|pulse)\s+cov: (\d+)", log) or ["0"]
    lines = re.findall(r"^#(\d+)\s", log, re.M) or ["0"]
    done = re.findall(r"Done (\d+) runs in (\d+) second", log)
    rate = int(done[0][0]) // max(int(done[0][1]), 1) if done else 0
    return done[0][0] if done else lines[-1], str(rate), covered[0], covered[-1]


def _keep(name: str, place: Path, count: int) -> None:
    """Add the smallest of the inputs that reach code which the corpus does not."""
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder)
        for path in (CORPUS / name).iterdir():
            shutil.copy(path, merged)
        known = {path.name for path in merged.iterdir()}
        _fuzz(name, [merged, place], ["-merge=1"])
        new = [path for path in merged.iterdir() if path.name not in known]
        for path in sorted(new, key=lambda path: (path.stat().st_size, path.name))[:count]:
            shutil.copyfile(path, CORPUS / name / path.name)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
