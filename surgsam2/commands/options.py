"""Options that several sub-commands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surgsam2.model.build import SurgSAM2Model


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which model, where and how it runs."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", default="demo", help="known name or checkpoint file (%(default)s)"
    )
    group.add_argument("--config", help="configuration name, if not the checkpoint's own")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda:0, mps (%(default)s)")
    group.add_argument(
        "--dtype", default="auto", help="auto, float32, bfloat16, float16 (%(default)s)"
    )
    group.add_argument(
        "--pruning", choices=("capped", "full-bank", "off"), default="capped",
        help="form of Efficient Frame Pruning (%(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--prune", type=int, default=2, help="memories that pruning leaves out (%(default)s)"
    )
    group.add_argument(
        "--compile", action="store_true", help="compile the network's parts with torch"
    )


def load_chosen_model(args: argparse.Namespace) -> SurgSAM2Model:
    """The model that `add_model_options` describes."""
    from surgsam2.model.build import load_model
    from surgsam2.model.pruning import EFP

    return load_model(
        args.model,
        config=args.config,
        device=args.device,
        dtype=args.dtype,
        pruning=EFP(args.pruning, args.prune),
        compile=args.compile,
    )
