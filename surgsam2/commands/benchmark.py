"""`surgsam2 benchmark` measures speed and memory, and compares them with `sam2`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from surgsam2.commands.arguments import add_options, names_in
from surgsam2.errors import InputError
from surgsam2.model.options import ModelOptions

EPILOG = """\
examples:
  surgsam2 benchmark --output OUT
  surgsam2 benchmark --output OUT --config lite --model demo --lengths 500,10000
  surgsam2 benchmark --output OUT --dtype bfloat16 --baseline sam2=1 --baseline sam2-float32=1
  surgsam2 benchmark --record OUT/benchmark.json --output docs
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `benchmark`."""
    parser = subparsers.add_parser(
        "benchmark",
        help="speed and memory, compared with sam2's own predictor",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument(
        "--output", required=True, help="folder for benchmark.json, performance.md and plots"
    )
    parser.add_argument(
        "--record", help="write the page of this benchmark.json and measure nothing"
    )
    parser.add_argument(
        "--model", help="weights for every configuration (untrained weights are as fast)"
    )
    parser.add_argument(
        "--config",
        default="surgsam2-hiera-small-512",
        help="configurations, comma-separated (%(default)s)",
    )
    parser.add_argument(
        "--pruning",
        default="capped",
        help="forms of pruning, comma-separated: capped, full-bank, off (%(default)s)",
    )
    parser.add_argument("--objects", default="1,2,4,8,16", help="numbers of objects (%(default)s)")
    parser.add_argument(
        "--baseline", action="append", metavar="NAME=NUMBERS",
        help="what to compare with, sam2, sam2-unpruned, per-object, sam2-float32 or "
        "surgsam2-float32, and with which numbers of objects; may be repeated (sam2=1,4,8 "
        "sam2-unpruned=1,4,8 per-object=4); or none",
    )  # fmt: skip
    parser.add_argument("--frames", type=int, default=24, help="frames of the clip (%(default)s)")
    parser.add_argument(
        "--size", default="1280x720", help="width and height of the clip in pixels (%(default)s)"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="number of measurements of each case (%(default)s)"
    )
    parser.add_argument(
        "--lengths",
        default="",
        help="numbers of frames for the growth of memory, such as 500,10000",
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="number of threads; 0 leaves it to PyTorch"
    )
    add_options(parser, ModelOptions, "model", only=("device", "dtype"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure or read a record, write the files after every case, and print the page."""
    from surgsam2.benchmark.report import RECORD, read_record, write_benchmark
    from surgsam2.benchmark.runner import Plan, run_plan
    from surgsam2.evaluation.report import report_folder
    from surgsam2.storage.temporary import TemporaryFolder

    folder = Path(args.output)
    if args.record:
        record = read_record(Path(args.record))
    else:
        plan = Plan(
            configs=names_in(args.config),
            checkpoint=args.model,
            prunings=names_in(args.pruning),
            objects=_numbers("objects", args.objects),
            frames=args.frames,
            repeats=args.repeats,
            lengths=_numbers("lengths", args.lengths),
            size=_size(args.size),
            device=args.device,
            dtype=args.dtype,
            threads=args.threads,
        )
        if args.baseline:
            plan = replace(plan, baselines=_baselines(args.baseline))
        with report_folder(folder), TemporaryFolder() as scratch:
            record = run_plan(
                plan,
                scratch,
                lambda text: print(text, file=sys.stderr),
                keep=lambda so_far: write_benchmark(so_far, folder),
            )
    page = write_benchmark(record, folder)
    print(page.read_text(encoding="utf-8"))
    print(f"written: {page}, {folder / RECORD}")
    return 0


def _baselines(options: list[str]) -> dict[str, list[int]]:
    if options == ["none"]:
        return {}
    pairs = [option.partition("=") for option in options]
    return {name.strip(): _numbers("baseline", numbers) for name, _, numbers in pairs}


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in names_in(text)]
    except ValueError as error:
        raise InputError(f"--{option} takes whole numbers like 1,2,4, got {text!r}") from error
    if min(numbers, default=1) < 1:
        raise InputError(f"--{option} takes numbers from 1, got {text!r}")
    return numbers


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError as error:
        raise InputError(f"--size takes WIDTHxHEIGHT like 1280x720, got {text!r}") from error
    return width, height
