"""`surgsam2 segment`: a video and a prompt file in, a folder of results out."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from surgsam2.commands.interrupt import stop_on_interrupt
from surgsam2.commands.options import add_model_options, load_chosen_model

if TYPE_CHECKING:
    from surgsam2.job import Progress


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `segment`."""
    parser = subparsers.add_parser(
        "segment", help="segment the prompted objects of a video into a folder"
    )
    parser.add_argument("video", help="video file, folder of images, DICOM, NRRD or MHA sequence")
    parser.add_argument("--prompts", required=True, help="prompt file (JSON)")
    parser.add_argument("--output", required=True, help="folder for the results")
    add_model_options(parser)
    parser.add_argument(
        "--direction", choices=("forward", "backward", "both"), default="forward",
        help="from each object's first prompt on, up to its last, or both (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--start", type=int, help="first frame, from 0")
    parser.add_argument("--stop", type=int, help="frame to stop before")
    parser.add_argument(
        "--formats", default="png,overlay,coco,csv",
        help="comma-separated (%(default)s); also: scene, for 3D Slicer",
    )  # fmt: skip
    parser.add_argument(
        "--allow-overlap", action="store_true", help="let masks of different objects overlap"
    )
    parser.add_argument(
        "--fill-holes", type=int, default=0, metavar="AREA",
        help="fill holes of up to AREA low-resolution pixels (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--fps", type=float, help="frame rate of images that carry none")
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder that holds other files"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run that was interrupted in --output"
    )
    parser.add_argument(
        "--checkpoint-every", type=int, default=100, metavar="N",
        help="save after every N frames what --resume needs (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--keep-names", action="store_true",
        help="write the video's file name into the results; it may name a patient",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out the job; 130 when it was stopped by Ctrl-C."""
    from surgsam2.job import JobOptions, segment_to_folder
    from surgsam2.prompts import load_prompts, naming_prompt_file
    from surgsam2.tracking.options import TrackingOptions
    from surgsam2.video import open_video

    options = JobOptions(
        formats=tuple(name.strip() for name in args.formats.split(",")),
        tracking=TrackingOptions(
            direction=args.direction,
            start=args.start,
            stop=args.stop,
            allow_overlap=args.allow_overlap,
            fill_holes=args.fill_holes,
        ),
        overwrite=args.overwrite,
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        keep_names=args.keep_names,
    )
    prompts = load_prompts(args.prompts)
    with open_video(args.video, fps=args.fps) as video:
        model = load_chosen_model(args)
        with (
            naming_prompt_file(args.prompts),
            progress_bar() as show,
            stop_on_interrupt() as should_stop,
        ):
            report = segment_to_folder(
                model, video, prompts, args.output, options, progress=show, should_stop=should_stop
            )
    summarise(report, args.output)
    if report["status"] != "complete":
        print("the same command with --resume goes on from here")
    return 0 if report["status"] == "complete" else 130


class progress_bar:  # noqa: N801 - used as a context manager
    """A bar on standard error with frames per second and time left."""

    def __enter__(self) -> Progress:
        from tqdm import tqdm

        self._bar = tqdm(unit="frame", disable=None, file=sys.stderr)
        return self._show

    def _show(self, done: int, total: int, seconds: float) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def summarise(report: dict[str, Any], output: str) -> None:
    """What was done, in a few lines."""
    if "already_complete" in report:
        print(f"complete already, nothing to resume: {output}")
        return
    timings, model = report["timings"], report["model"]
    print(
        f"{report['status']}: {timings['frames']} frames, "
        f"{timings['frames_per_second']:.1f} frames/s, model {model['config']} on {model['device']}"
    )
    for note in report["skipped"]:
        print(f"note: {note}")
    print(f"results: {output}")
