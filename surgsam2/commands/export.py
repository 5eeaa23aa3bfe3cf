"""`surgsam2 export` writes a model as ONNX graphs."""

from __future__ import annotations

import argparse
import sys

from surgsam2.commands.arguments import add_options, read_options
from surgsam2.model.options import ModelOptions


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `export`."""
    parser = subparsers.add_parser(
        "export", help="write a model as ONNX graphs, to run it without PyTorch"
    )
    parser.add_argument("--output", required=True, help="new or empty folder for the graphs")
    parser.add_argument(
        "--opset", type=int, default=20, help="version of ONNX's operators (%(default)s)"
    )
    add_options(parser, ModelOptions, "model", only=("model", "config"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export the model and print the path of the description."""
    from surgsam2.export import export_onnx
    from surgsam2.model.build import load_model

    options = read_options(ModelOptions, args)
    model = load_model(options.model, config=options.config, device="cpu", dtype="float32")

    def progress(graph: str, done: int, total: int) -> None:
        print(f"surgsam2: {graph}, {done + 1} of {total}", file=sys.stderr)

    print(export_onnx(model, args.output, opset=args.opset, progress=progress))
    return 0
