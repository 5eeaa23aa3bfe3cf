"""`surgsam2 segment` segments the prompted objects of a video into a folder."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from surgsam2.commands.arguments import add_engine_arguments, add_options, flag, read_options
from surgsam2.errors import InputError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `segment`."""
    from surgsam2.cluster.options import ListOptions
    from surgsam2.job.options import JobOptions, VideoOptions
    from surgsam2.model.options import ModelOptions

    parser = subparsers.add_parser(
        "segment", help="segment the prompted objects of a video, or of many, into a folder"
    )
    parser.add_argument(
        "video", nargs="?", help="video file, folder of images, DICOM, NRRD or MHA sequence"
    )
    parser.add_argument(
        "--prompts", help="prompt file (JSON) or label image (PNG); needed for a single video"
    )
    parser.add_argument(
        "--prompt-frame", type=int, metavar="N", help="frame that a label image shows (0)"
    )
    parser.add_argument("--output", required=True, help="folder for the results")
    parser.add_argument(
        "--datalist", metavar="FILE",
        help="list of videos with their prompt files and output names (JSON), in place of VIDEO",
    )  # fmt: skip
    add_options(parser, VideoOptions, "video")
    add_options(parser, JobOptions, "run")
    add_options(parser, ModelOptions, "model")
    add_options(parser, ListOptions, "list of videos")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment the video or the list; return 130 when Ctrl-C stopped it."""
    if args.datalist is None:
        return _run_one(args)
    from surgsam2.cluster.options import ListOptions
    from surgsam2.job.datalist import read_datalist
    from surgsam2.job.options import JobOptions, VideoOptions
    from surgsam2.model.options import ModelOptions
    from surgsam2.storage.places import Place

    if args.video or args.prompts or args.prompt_frame is not None or args.engine:
        raise InputError(
            "--datalist names videos and prompts; leave out VIDEO, --prompts, --prompt-frame, "
            "--engine"
        )
    output = Place.of(args.output)
    options = read_options(ListOptions, args)
    model, job = read_options(ModelOptions, args), read_options(JobOptions, args)
    video = read_options(VideoOptions, args)
    jobs = read_datalist(args.datalist, output)
    # These import torch, which takes seconds: what cannot be used is refused before.
    from surgsam2.cluster.console import segment_list_with_progress
    from surgsam2.cluster.tasks import Settings

    settings = Settings(model, job, video, cache_bytes=options.cache_bytes)
    segment_list_with_progress(jobs, output, settings, options)
    return 0


def _run_one(args: argparse.Namespace) -> int:
    from surgsam2.cluster.options import ListOptions
    from surgsam2.job.options import JobOptions, VideoOptions
    from surgsam2.model.options import ModelOptions
    from surgsam2.prompts import load_prompts, naming_prompt_file
    from surgsam2.storage.places import Place

    if args.video is None or args.prompts is None:
        raise InputError("a video and --prompts FILE are needed, or --datalist FILE")
    given = [o for o in ListOptions.described() if getattr(args, o.name) != o.default]
    if given:
        raise InputError(
            f"{', '.join(map(flag, given))}: only a list of videos has such options; leave them "
            "out, or give --datalist in place of the video"
        )
    for name in ("video", "prompts", "output"):
        if not Place.of(getattr(args, name)).is_local:
            raise InputError(
                f"{getattr(args, name)}: a single video is segmented on this machine's own disk; "
                "for places elsewhere, write a list of one video and give --datalist"
            )
    options, chosen = read_options(JobOptions, args), read_options(ModelOptions, args)
    prompts = load_prompts(args.prompts, frame=args.prompt_frame)
    with read_options(VideoOptions, args).open(args.video) as video:
        # These import torch, which takes seconds: what cannot be used is refused before.
        from surgsam2.engine.remote_model import connect
        from surgsam2.job.console import segment_with_progress

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
