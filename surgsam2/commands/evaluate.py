"""`surgsam2 evaluate`: how good is a model, or a folder of masks, on data with a truth."""

from __future__ import annotations

import argparse
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

from surgsam2.errors import InputError

EPILOG = """\
examples:
  surgsam2 evaluate DATASET --protocol endovis18 --model A --model B --output OUT
  surgsam2 evaluate DATASET --prompts mask --pruning capped,off --output OUT
  surgsam2 evaluate --predictions MASKS --ground-truth ANNOTATIONS --output OUT
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `evaluate`."""
    parser = subparsers.add_parser(
        "evaluate",
        help="accuracy and speed on data with a truth, as tables and a report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("dataset", nargs="?", help="dataset folder (frames and label PNGs)")
    parser.add_argument("--output", required=True, help="folder for the results and the report")
    parser.add_argument(
        "--protocol", default="vos", choices=("vos", "endovis17", "endovis18"),
        help="how the data is split and counted (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--split", help="split of the protocol (endovis17: fold0 to fold3, ...)")
    parser.add_argument("--sequences", help="names, comma-separated, instead of a split")
    parser.add_argument(
        "--baselines", default="copy,flow", help="copy, flow, both or none (%(default)s)"
    )
    parser.add_argument(
        "--name", action="append", help="name in the tables for each --model or --predictions"
    )
    parser.add_argument(
        "--values", default="objects", choices=("objects", "classes"),
        help="what the pixel values of label PNGs are (%(default)s)",
    )  # fmt: skip
    models = parser.add_argument_group("models")
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
        "--prompts", default="mask,1pt,5pt", help="prompt settings, comma-separated (%(default)s)"
    )
    models.add_argument(
        "--seed", type=int, default=0, help="of the points sampled from the truth (%(default)s)"
    )
    models.add_argument("--device", default="auto", help="auto, cpu, cuda:0, mps (%(default)s)")
    models.add_argument(
        "--dtype", default="auto", help="auto, float32, bfloat16, float16 (%(default)s)"
    )
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
    """Evaluate, write the report, print the main table."""
    from surgsam2.evaluation.report import report_folder, summary_text, write_report

    folder = Path(args.output)
    with report_folder(folder), ProgressBar() as progress:
        results = _evaluate(args, progress)
    paths = write_report(results, folder)
    print(summary_text(results))
    print(f"report: {paths['html']}")
    return 0


def _evaluate(args: argparse.Namespace, progress: Any) -> dict[str, Any]:
    from surgsam2.evaluation import runner
    from surgsam2.evaluation.prompting import parse_settings

    common = {
        "protocol": args.protocol,
        "split": args.split,
        "sequences": _names(args.sequences) or None,
        "values": args.values,
        "baselines": [] if args.baselines == "none" else _names(args.baselines),
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
    if not args.dataset:
        raise InputError("give a DATASET folder, or --predictions and --ground-truth")
    models, names = args.model or ["demo"], args.name or []
    if len(names) > len(models):
        raise InputError(f"there are {len(names)} --name for {len(models)} models")
    specs = [
        runner.ModelSpec(model, config, pruning, args.device, args.dtype, name)
        for model, name in zip_longest(models, names)
        for config in args.config or [None]
        for pruning in _names(args.pruning) or ["capped"]
    ]
    return runner.evaluate(
        args.dataset,
        prompts=parse_settings(args.prompts),
        models=specs,
        seed=args.seed,
        **common,
    )


def _names(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


class ProgressBar:
    """One bar on standard error, started anew for each sequence."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._bar = tqdm(unit="frame", disable=None, file=sys.stderr, leave=False)
        self._label = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, label: str, done: int, total: int) -> None:
        if label != self._label:
            self._label = label
            self._bar.reset(total)
            self._bar.set_description(label)
        self._bar.update(done - self._bar.n)

    def __exit__(self, *error: object) -> None:
        self._bar.close()
