"""`surgsam2 evaluate` measures a model, or a folder of masks, on data with true masks."""

from __future__ import annotations

import argparse
from itertools import zip_longest
from pathlib import Path
from typing import Any

from surgsam2.commands.arguments import add_options, names_in
from surgsam2.errors import InputError
from surgsam2.model.options import ModelOptions
from surgsam2.tracking.options import MEMORY_SETTINGS, TrackingOptions

EPILOG = """\
examples:
  surgsam2 evaluate DATASET --protocol endovis18 --model A --model B --output OUT
  surgsam2 evaluate DATASET --prompts mask --pruning capped,off --output OUT
  surgsam2 evaluate --predictions MASKS --ground-truth ANNOTATIONS --output OUT
  surgsam2 evaluate --protocol returns --memory efp,window,reliable,diverse --output OUT
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `evaluate`."""
    parser = subparsers.add_parser(
        "evaluate",
        help="accuracy and speed on data with true masks, as tables and a report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("dataset", nargs="?", help="dataset folder (frames and label PNGs)")
    parser.add_argument("--output", required=True, help="folder for the results and the report")
    parser.add_argument(
        "--protocol", default="vos", choices=(
            "vos", "endovis17", "endovis18", "returns", "cholecseg8k", "dsad", "robust-mis",
            "sar-rarp50", "endoscapes",
        ),
        help="how the data is split and counted (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--split",
        help="split of the protocol (endovis17: fold0 to fold3, returns: quick or full, ...)",
    )
    parser.add_argument("--sequences", help="names, comma-separated, instead of a split")
    parser.add_argument(
        "--baselines",
        default="copy,flow",
        help="what to compare with: copy, flow, both or none (%(default)s)",
    )
    parser.add_argument(
        "--name",
        action="append",
        help="name in the tables for each --model or --predictions; may be repeated",
    )
    parser.add_argument(
        "--values", default="objects", choices=("objects", "classes"),
        help="meaning of the pixel values of label PNGs (%(default)s)",
    )  # fmt: skip
    models = parser.add_argument_group("models and prompts")
    models.add_argument(
        "--model", action="append",
        help="known name or checkpoint file; may be repeated (demo)",
    )  # fmt: skip
    models.add_argument(
        "--config", action="append", help="configuration for every model; may be repeated"
    )
    models.add_argument(
        "--pruning", default="capped",
        help="forms of Efficient Frame Pruning: capped, full-bank, off, comma-separated "
        "(%(default)s)",
    )  # fmt: skip
    models.add_argument(
        "--memory", default="efp",
        help="memory policies, comma-separated: efp, window, reliable, diverse, "
        "reliable-diverse (%(default)s)",
    )  # fmt: skip
    models.add_argument(
        "--prompts", default="mask,1pt,5pt", help="prompt settings, comma-separated (%(default)s)"
    )
    models.add_argument(
        "--seed", type=int, default=0, help="seed of the points in the true masks (%(default)s)"
    )
    add_options(parser, ModelOptions, "device", only=("device", "dtype"))
    add_options(parser, TrackingOptions, "memory policies", only=MEMORY_SETTINGS)
    existing = parser.add_argument_group("existing masks, without a model")
    existing.add_argument(
        "--predictions", action="append", metavar="DIR",
        help="folder of label PNGs to score; may be repeated",
    )  # fmt: skip
    existing.add_argument("--ground-truth", metavar="DIR", help="folder of true label PNGs")
    existing.add_argument(
        "--resize", action="store_true",
        help="resize predictions of another size instead of counting them as missing",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the report, and print the main table."""
    from surgsam2.evaluation.report import report_folder, summary_text, write_report
    from surgsam2.job.console import ProgressDisplay
    from surgsam2.storage.text import printable

    folder = Path(args.output)
    with report_folder(folder), ProgressDisplay(keep=False) as display:
        results = _evaluate(args, display.update_labelled)
    paths = write_report(results, folder)
    print(printable(summary_text(results)))
    print(f"report: {paths['html']}")
    return 0


def _evaluate(args: argparse.Namespace, progress: Any) -> dict[str, Any]:
    from surgsam2.evaluation import runner
    from surgsam2.evaluation.prompting import parse_settings

    common = {
        "protocol": args.protocol,
        "split": args.split,
        "sequences": names_in(args.sequences) or None,
        "values": args.values,
        "baselines": [] if args.baselines == "none" else names_in(args.baselines),
        "progress": progress,
    }
    if args.predictions or args.ground_truth:
        if not (args.predictions and args.ground_truth):
            raise InputError("--predictions and --ground-truth belong together; one is missing")
        if args.dataset or args.model:
            raise InputError("--predictions scores existing masks: leave out DATASET and --model")
        return runner.evaluate_predictions(
            args.predictions,
            args.ground_truth,
            names=args.name or (),
            size_mismatch="resize" if args.resize else "missing",
            **common,
        )
    if not args.dataset and args.protocol != "returns":
        raise InputError("give a DATASET folder, or --predictions and --ground-truth")
    models, names = args.model or ["demo"], args.name or []
    if len(names) > len(models):
        raise InputError(f"there are {len(names)} --name for {len(models)} models")
    settings = {name: getattr(args, name) for name in MEMORY_SETTINGS}
    specs = [
        runner.ModelSpec(
            model,
            config,
            pruning,
            args.device,
            args.dtype,
            name,
            TrackingOptions.from_mapping({**settings, "memory": memory}),
        )
        for model, name in zip_longest(models, names)
        for config in args.config or [None]
        for pruning in names_in(args.pruning) or ["capped"]
        for memory in names_in(args.memory) or ["efp"]
    ]
    return runner.evaluate(
        args.dataset or None,
        prompts=parse_settings(args.prompts),
        models=specs,
        seed=args.seed,
        **common,
    )
