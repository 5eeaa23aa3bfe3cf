"""`surgsam2 export`: a model as ONNX graphs."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `export`."""
    parser = subparsers.add_parser(
        "export", help="write a model as ONNX graphs, to run it without PyTorch"
    )
    parser.add_argument(
        "--model", default="demo", help="known name or checkpoint file (%(default)s)"
    )
    parser.add_argument("--config", help="configuration name, if not the checkpoint's own")
    parser.add_argument("--output", required=True, help="new or empty folder for the graphs")
    parser.add_argument(
        "--opset", type=int, default=20, help="version of ONNX's operators (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export; print where the description is."""
    from surgsam2.export import export_onnx
    from surgsam2.model.build import load_model

    model = load_model(args.model, config=args.config, device="cpu", dtype="float32")
    print(export_onnx(model, args.output, opset=args.opset))
    return 0
