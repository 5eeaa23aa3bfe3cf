"""`surgsam2 models` lists, downloads and verifies checkpoints."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `models list|download|verify`."""
    parser = subparsers.add_parser("models", help="list, download and verify checkpoints")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    action = actions.add_parser("list", help="list the known checkpoints")
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
        ("NAME", "STATE", "SIZE", "USE", "SOURCE"),
        (
            *("demo", "built in" if built_in else "weights missing", size),
            *("to try the software; not for real video", "this package"),
        ),
    ]
    for entry in known_checkpoints().values():
        rows.append(
            (
                *(entry.name, "here" if entry.path.is_file() else "-"),
                f"{entry.parameters * 4 / 1e6:.0f} MB",
                *(entry.advice, entry.url or entry.source),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[4]]))
    return 0


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
