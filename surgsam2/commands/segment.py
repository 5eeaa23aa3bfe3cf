"""`surgsam2 segment` segments the prompted objects of a video into a folder."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from surgsam2.commands.arguments import add_options, read_options


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `segment`."""
    from surgsam2.job.options import JobOptions, VideoOptions
    from surgsam2.model.options import ModelOptions

    parser = subparsers.add_parser(
        "segment", help="segment the prompted objects of a video into a folder"
    )
    parser.add_argument("video", help="video file, folder of images, DICOM, NRRD or MHA sequence")
    parser.add_argument("--prompts", required=True, help="prompt file (JSON) or label image (PNG)")
    parser.add_argument(
        "--prompt-frame", type=int, metavar="N", help="frame that a label image shows (0)"
    )
    parser.add_argument("--output", required=True, help="folder for the results")
    add_options(parser, VideoOptions, "video")
    add_options(parser, JobOptions, "run")
    add_options(parser, ModelOptions, "model")
    group = parser.add_argument_group("engine on another machine")
    group.add_argument(
        "--engine", metavar="ADDRESS",
        help="ssh://user@host or surgsam2://host:port; the video is sent there (this machine)",
    )  # fmt: skip
    group.add_argument(
        "--engine-ca", metavar="FILE",
        help="certificates that are trusted besides the system's, for surgsam2://",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment the video; return 130 when Ctrl-C stopped it."""
    from surgsam2.engine.remote_model import connect
    from surgsam2.job.console import segment_with_progress
    from surgsam2.job.options import JobOptions, VideoOptions
    from surgsam2.model.options import ModelOptions
    from surgsam2.prompts import load_prompts, naming_prompt_file

    options = read_options(JobOptions, args)
    prompts = load_prompts(args.prompts, frame=args.prompt_frame)
    with read_options(VideoOptions, args).open(args.video) as video:
        chosen = read_options(ModelOptions, args)
        with contextlib.ExitStack() as stack:
            if args.engine is None:
                model: Any = chosen.load()
            else:
                model = stack.enter_context(
                    connect(args.engine, chosen, authorities=args.engine_ca)
                )
            stack.enter_context(naming_prompt_file(args.prompts))
            report = segment_with_progress(model, video, prompts, args.output, options)
    if report["status"] == "complete":
        return 0
    print("the same command with --resume goes on from here")
    return 130
