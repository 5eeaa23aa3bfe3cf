"""`surgsam2 train` fine-tunes a model on your own videos, or trains one from nothing."""

from __future__ import annotations

import argparse
import logging
import re
from typing import Any

from surgsam2.commands.arguments import add_options, read_options
from surgsam2.errors import InputError
from surgsam2.model.options import ModelOptions

EPILOG = """\
examples:
  surgsam2 train finetune --model sam2.1-hiera-small-512 --data endovis18=DATA --output OUT
  surgsam2 train finetune --model demo --data vos=DATA --validate vos=HELD_OUT \\
      --set image_size=384 --set epochs=30 --output OUT
  torchrun --standalone --nproc_per_node=4 -m surgsam2 train my.yaml --output OUT
The same command resumes a run that was interrupted.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `train`."""
    parser = subparsers.add_parser(
        "train",
        help="fine-tune a model, or train one from nothing",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("recipe", help="a built-in recipe or a YAML file (see docs/training.md)")
    parser.add_argument("--output", required=True, help="folder of the run")
    parser.add_argument("--model", help="weights to start from: known name or checkpoint file")
    parser.add_argument("--config", help="name of the configuration, if it is not the model's own")
    parser.add_argument(
        "--data", action="append", metavar="KIND=PATH[,NAME=VALUE]",
        help="train on this instead of the recipe's data; KIND is vos, endovis17, endovis18, "
        "cholecseg8k, dsad, robust-mis, sar-rarp50, endoscapes, images or synthetic; settings "
        "such as batch=2,frames=4 may follow; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--validate",
        action="append",
        metavar="KIND=PATH",
        help="data on which the best weights are chosen; may be repeated",
    )
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", default=[],
        help="any setting of the recipe, for example optimizer.lr=1e-5; may be repeated",
    )  # fmt: skip
    add_options(parser, ModelOptions, "device", only=("device",))
    parser.add_argument(
        "--threads", type=int, help="number of CPU threads; without it the fastest is measured"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="remove an earlier run in the output folder first"
    )
    parser.add_argument(
        "--continue-with", action="append", metavar="NAME=VALUE", default=[],
        help="resume an interrupted run with another value of a setting, for example "
        "optimizer.lr=1e-5; may be repeated",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, and print the path of the model."""
    from surgsam2.training.trainer import train

    if logging.getLogger().getEffectiveLevel() > logging.INFO:
        logging.getLogger("surgsam2").setLevel(logging.INFO)  # Training takes hours.
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads must be at least 1, got {args.threads}")
    model = train(
        args.recipe,
        args.output,
        overrides=overrides(args),
        continue_with=_settings(args.continue_with, "--continue-with"),
        overwrite=args.overwrite,
        device=read_options(ModelOptions, args).device,
        threads=args.threads or "auto",
    )
    print(model)
    return 0


def overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a recipe that the command line gives.

    Raises:
        InputError: an argument does not have the form that its help describes.
    """
    settings = _settings(args.set, "--set")
    if args.model:
        settings["model"] = args.model
    if args.config:
        settings["network"] = args.config
    if args.data:
        settings["data"] = [_source(text) for text in args.data]
    if args.validate:
        _put(settings, ["validation", "sources"], [_source(t) for t in args.validate], "--validate")
    return settings


def _settings(texts: list[str], option: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{option} takes NAME=VALUE, got {text!r}")
        _put(settings, name.split("."), _value(value), text)
    return settings


def _put(settings: dict[str, Any], path: list[str], value: Any, text: str) -> None:
    for part in path[:-1]:
        settings = settings.setdefault(part, {})
        if not isinstance(settings, dict):
            raise InputError(f"--set {text}: {part} has a value of its own already")
    settings[path[-1]] = value


def _source(text: str) -> dict[str, Any]:
    place, *options = re.split(r",(?![^\[]*\])", text)  # Lists have commas of their own.
    kind, equals, path = place.partition("=")
    if not equals or not path:
        raise InputError(f"data is given as KIND=PATH, for example vos=clips, got {text!r}")
    source: dict[str, Any] = {"kind": kind, "path": path}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise InputError(f"after a path come settings such as batch=2, got {option!r}")
        source[name] = _value(value)
    return source


def _value(text: str) -> Any:
    """Return a number, a word or a list, as in the YAML of a recipe."""
    from surgsam2.storage.yaml_file import parse_yaml

    return parse_yaml(text, repr(text), "value")
