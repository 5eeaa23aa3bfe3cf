"""`surgsam2 annotate` opens a page in the browser to mark, track and correct objects."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from surgsam2.commands.arguments import add_engine_arguments, add_options, read_options
from surgsam2.model.options import ModelOptions
from surgsam2.tracking.options import MEMORY_SETTINGS, TrackingOptions


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `annotate`."""
    parser = subparsers.add_parser(
        "annotate", help="mark, track and correct objects of a video in the browser"
    )
    parser.add_argument("video", help="video file, folder of images, or folder of video files")
    parser.add_argument(
        "output", nargs="?", help="folder for prompts and masks (VIDEO's name with -annotated)"
    )
    parser.add_argument(
        "--classes",
        metavar="LIST",
        help="classes that objects can have: a list's name, or a CSV or JSON file (general)",
    )
    add_options(parser, ModelOptions, "model")
    add_options(parser, TrackingOptions, "tracking", only=("memory", *MEMORY_SETTINGS))
    add_engine_arguments(parser)
    server = parser.add_argument_group("server")
    server.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    server.add_argument("--port", type=int, default=0, help="port (a free one)")
    server.add_argument("--certificate", help="PEM file; needed for a host other than loopback")
    server.add_argument("--key", help="PEM file with the certificate's key")
    server.add_argument(
        "--no-browser", action="store_true", help="only print the address, do not open it"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    import webbrowser

    from surgsam2.annotate.serve import annotate, default_folder

    output = args.output or str(default_folder(Path(args.video)))

    def show(address: str) -> None:
        print(f"open in a browser: {address}\nmasks and prompts: {output}\nCtrl-C ends", flush=True)
        if not args.no_browser:
            webbrowser.open(address)

    annotate(
        args.video,
        output,
        read_options(ModelOptions, args),
        tracking=read_options(TrackingOptions, args),
        classes=args.classes,
        engine=args.engine,
        authorities=args.engine_ca,
        host=args.host,
        port=args.port,
        certificate=args.certificate,
        key=args.key,
        on_ready=show,
    )
    print("saved", file=sys.stderr)
    return 0
