"""`surgsam2 models` lists, downloads and verifies checkpoints."""

from __future__ import annotations

import argparse

_FRAMES = 8


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `models list|download|verify`."""
    parser = subparsers.add_parser("models", help="list, download and verify checkpoints")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    action = actions.add_parser("list", help="list the known checkpoints")
    action.add_argument(
        "--speed",
        action="store_true",
        help="measure the models that are here: frames per second with one object on this machine",
    )
    action.set_defaults(run=_list)

    action = actions.add_parser("download", help="fetch a published checkpoint")
    action.add_argument("name", help="a name from `surgsam2 models list`")
    action.set_defaults(run=_download)

    action = actions.add_parser("verify", help="load a checkpoint and print its SHA-256")
    action.add_argument("name", help="a name from the list, or a checkpoint file")
    action.add_argument("--config", help="configuration to check against (default: its own)")
    action.set_defaults(run=_verify)


def _list(args: argparse.Namespace) -> int:
    from surgsam2.model.build import BUILT_IN
    from surgsam2.model.zoo import known_checkpoints

    built_in = BUILT_IN.is_file()
    size = f"{BUILT_IN.stat().st_size / 1e6:.0f} MB" if built_in else "-"
    rows = [
        ("NAME", "STATE", "SIZE", "SPEED", "USE", "SOURCE"),
        (
            *("demo", "built in" if built_in else "weights missing", size),
            _speed("demo") if args.speed and built_in else "-",
            *("to try the software, and for a first look at a video", "this package"),
        ),
    ]
    for entry in known_checkpoints().values():
        rows.append(
            (
                *(entry.name, "here" if entry.path.is_file() else "-"),
                f"{entry.parameters * 4 / 1e6:.0f} MB",
                _speed(entry.name) if args.speed and entry.path.is_file() else "-",
                *(entry.advice, entry.url or entry.source),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[5]]))
    print(f"\n{_recommendation()}")
    return 0


def _speed(name: str) -> str:
    """Return how many frames per second a model tracks here, one object in 1280 x 720 pixels."""
    import time

    import numpy as np

    from surgsam2.model.build import load_model
    from surgsam2.prompts import PromptSet
    from surgsam2.tracking.tracker import Tracker

    frames = np.random.default_rng(0).integers(0, 256, (_FRAMES, 720, 1280, 3), np.uint8)
    tracker = Tracker(load_model(name), 1280, 720)
    tracker.step(frames[0], PromptSet().add(object_id=1, frame=0, box=[400, 200, 800, 500]))
    tracker.step(frames[1])  # the first frame of each kind takes longer
    began = time.perf_counter()
    for frame in frames[2:]:
        tracker.step(frame)
    return f"{(_FRAMES - 2) / (time.perf_counter() - began):.1f}/s"


def _recommendation() -> str:
    """Return which model to take on this machine."""
    import torch

    if torch.cuda.is_available():
        return "recommended here: sam2.1-hiera-small, or -large for the best masks (CUDA is there)"
    return (
        "recommended here: sam2.1-hiera-tiny-512 to begin with, sam2.1-hiera-small-512 for better "
        "masks (there is no CUDA, so larger ones take long); --speed measures what is here"
    )


def _download(args: argparse.Namespace) -> int:
    from surgsam2.model.zoo import download

    print(download(args.name))
    return 0


def _verify(args: argparse.Namespace) -> int:
    from surgsam2.model.build import load_model
    from surgsam2.model.checkpoint import read_checkpoint, weights_sha256
    from surgsam2.model.zoo import find_known
    from surgsam2.storage.hashing import sha256_of

    model = load_model(args.name, config=args.config, device="cpu")
    parameters = sum(p.numel() for p in model.network.parameters())
    print(f"{args.name}: fits {model.name}, {parameters / 1e6:.1f} M parameters")
    if model.checkpoint is not None:
        digest = sha256_of(model.checkpoint)
        print(f"sha256 {digest}  {model.checkpoint}")
        print(f"sha256 {weights_sha256(read_checkpoint(model.checkpoint))}  of the tensors alone")
        known = find_known(args.name)
        if known is not None and known.sha256 is not None:
            print(
                "this is the published file" if digest == known.sha256 else "NOT the published file"
            )
    return 0
