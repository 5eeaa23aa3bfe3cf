"""`surgsam2 inspect`: says what is in a video and what is assumed about it."""

from __future__ import annotations

import argparse

from surgsam2.commands.arguments import add_options, read_options


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `inspect`."""
    from surgsam2.job.options import VideoOptions

    parser = subparsers.add_parser(
        "inspect", help="say what is in a video and what is assumed about it"
    )
    parser.add_argument("video", help="video file, folder of images, DICOM, NRRD or MHA sequence")
    parser.add_argument(
        "--decode", action="store_true", help="decode all frames, which finds all damage"
    )
    add_options(parser, VideoOptions, "video")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the description; return 0."""
    from surgsam2.job.options import VideoOptions
    from surgsam2.video.description import describe

    with read_options(VideoOptions, args).open(args.video) as video:
        if args.decode:
            for _ in video:
                pass
        for label, value in describe(video):
            print(f"{label:12} {value}")
    return 0
