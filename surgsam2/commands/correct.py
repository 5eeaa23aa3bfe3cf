"""`surgsam2 correct` corrects the results of `surgsam2 segment` in their folder."""

from __future__ import annotations

import argparse

from surgsam2.commands.arguments import add_options, read_options

EPILOG = """\
Points refine the mask that is there, and may all be negative; a box or a mask replaces it. Only
the objects in the prompt file are tracked again, from the first correction on. All other frames
and objects stay as they are. The model must be that of the run: give the same --model.

examples:
  surgsam2 correct operation.mp4 OUT --prompts more.json
  surgsam2 correct operation.mp4 OUT --prompts more.json --stop 300
  surgsam2 correct operation.mp4 OUT --prompts more.json --direction backward
"""
_RANGE = ("direction", "start", "stop")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `correct`."""
    from surgsam2.job.options import VideoOptions
    from surgsam2.model.options import ModelOptions
    from surgsam2.tracking.options import TrackingOptions

    parser = subparsers.add_parser(
        "correct",
        help="correct results: track again the objects and frames concerned, keep all others",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("video", help="the video that was segmented")
    parser.add_argument("output", help="output folder of surgsam2 segment")
    parser.add_argument("--prompts", required=True, help="prompt file (JSON) with the corrections")
    add_options(parser, TrackingOptions, "range", only=_RANGE)
    add_options(parser, VideoOptions, "video")
    add_options(parser, ModelOptions, "model")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Correct the results; return 130 when Ctrl-C stopped it."""
    from surgsam2.job.console import correct_with_progress
    from surgsam2.job.options import VideoOptions
    from surgsam2.model.options import ModelOptions
    from surgsam2.prompts import load_prompts, naming_prompt_file
    from surgsam2.tracking.options import TrackingOptions

    corrections = load_prompts(args.prompts, corrections=True)
    chosen = read_options(TrackingOptions, args)
    with read_options(VideoOptions, args).open(args.video) as video:
        model = read_options(ModelOptions, args).load()
        with naming_prompt_file(args.prompts):
            report = correct_with_progress(
                model,
                video,
                corrections,
                args.output,
                **{name: getattr(chosen, name) for name in _RANGE},
            )
    if report["status"] == "complete":
        return 0
    print("the same command tracks the range again; nothing else changed")
    return 130
