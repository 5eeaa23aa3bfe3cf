"""The folder of a training run: its files, its settings and its history."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from surgsam2.errors import InputError
from surgsam2.storage.atomic_file import write_text_atomically, writing
from surgsam2.storage.settings import parse
from surgsam2.storage.yaml_file import read_yaml, yaml_text
from surgsam2.training.config import TrainConfig

PROGRESS, BEST, LAST, MEAN = "progress.pt", "best.pt", "last.pt", "mean.pt"
SETTINGS, HISTORY = "settings.yaml", "history.jsonl"
MODEL, BUNDLE = "model.pt", "bundle"

_MAY_CHANGE = (
    "epochs", "data", "augment", "prompts", "loss", "rollout", "validation", "dtype",
    "optimizer.lr", "optimizer.final_fraction", "optimizer.warmup", "optimizer.weight_decay",
    "optimizer.clip",
)  # fmt: skip
"""Settings, or tables of settings, that may change when an interrupted stage is resumed."""
_WITHOUT_EFFECT = ("save_every", "log_every", "workers", "patient")
"""Settings that change nothing about the weights."""

_DECIDED = ("network", "image_size", "freeze.image_encoder")
"""Settings for which None means that the model decides; the folder holds what it decided."""

Changes = dict[str, tuple[Any, Any]]
"""Old and new value by the name of a setting, such as `optimizer.lr` or `data[0].path`."""


def check_settings(
    root: Path, stages: Collection[TrainConfig], continue_with: Mapping[str, Any] | None = None
) -> dict[str, Changes]:
    """Compare the stages of a recipe with those that a folder holds already.

    Args:
        root: folder of the run; it need not exist.
        stages: the stages, with `continue_with` applied.
        continue_with: settings, as in a recipe, with which an interrupted run may be continued.

    Returns:
        The changes of each interrupted stage.

    Raises:
        InputError: a stage in the folder was run with other settings, or `continue_with` names a
            setting that cannot change within a run. The message lists all differences.
    """
    allowed = set(_names(continue_with or {}))
    fixed = sorted(name for name in allowed if not _within(name, _MAY_CHANGE))
    if fixed:
        raise InputError(
            f"{', '.join(fixed)} cannot change within a run; --continue-with takes "
            f"{', '.join(_MAY_CHANGE)}. Start a run in another folder"
        )
    found: dict[str, Changes] = {}
    refused: list[str] = []
    unfinished = any(not (root / stage.name / LAST).is_file() for stage in stages)
    for stage in stages:
        folder = root / stage.name
        finished = (folder / LAST).is_file()
        if not finished and not (folder / PROGRESS).is_file():
            continue
        changes = differences(_stored(folder), stage)
        tolerated = {name for name in changes if unfinished and _within(name, allowed)}
        refused += [
            f"{stage.name}: {name} is {old} there and {new} now"
            for name, (old, new) in changes.items()
            if name not in tolerated
        ]
        if not finished:
            found[stage.name] = changes
    if refused:
        raise InputError(
            f"{root} holds a run with other settings ({'; '.join(refused)}). Choose another output "
            "folder, give the settings of that run, start anew with --overwrite, or continue an "
            "interrupted run with --continue-with NAME=VALUE"
        )
    return found


def differences(stored: TrainConfig, given: TrainConfig) -> Changes:
    """Return the settings that differ, without those that have no effect on the weights.

    A source that only one of them has is one difference.
    """
    old, new = _flat(asdict(stored)), _flat(asdict(given))
    changes: Changes = {}
    for name in [*old, *(name for name in new if name not in old)]:
        values = (old.get(name), new.get(name))
        if values[0] == values[1] or _within(name, _WITHOUT_EFFECT):
            continue
        if name in _DECIDED and None in values:
            continue
        lonely = _lonely_source(name, old, new)
        if lonely is None:
            changes[name] = values
        else:
            changes[lonely] = (_source_of(lonely, old), _source_of(lonely, new))
    # A list without sources is a setting of its own; the sources have been named.
    return {
        name: values
        for name, values in changes.items()
        if not any(other.startswith(f"{name}[") for other in changes)
    }


def _lonely_source(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Return the source that a setting belongs to, if only one of two runs has that source."""
    match = re.match(r"(data|validation\.sources)\[\d+\]", name)
    if match is None or (f"{match[0]}.kind" in old) == (f"{match[0]}.kind" in new):
        return None
    return match[0]


def _source_of(name: str, settings: Mapping[str, Any]) -> str | None:
    """Return kind and path of a source, such as `vos=/data`; None if the settings lack it."""
    if f"{name}.kind" not in settings:
        return None
    return f"{settings[f'{name}.kind']}={settings[f'{name}.path']}"


def write_settings(folder: Path, config: TrainConfig) -> None:
    """Write every setting of a stage as YAML.

    Raises:
        OutputError: the folder or the file cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    text = yaml_text(_plain(asdict(config)))
    write_text_atomically(folder / SETTINGS, text)


def add_to_history(folder: Path, event: str, **facts: Any) -> None:
    """Append an event with its time (UTC) to the history of a stage, one JSON object a line.

    Raises:
        OutputError: the file cannot be written.
    """
    time = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with writing(folder / HISTORY), (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"time": time, "event": event, **facts}) + "\n")


def remove_run(root: Path) -> None:
    """Remove what a run wrote into `root`: its stages, its model and its bundle.

    Raises:
        OutputError: a file cannot be removed.
    """
    if not root.is_dir():
        return
    with writing(root):
        stages = [path.parent for path in root.glob(f"*/{SETTINGS}") if not path.is_symlink()]
        for folder in [*stages, root / BUNDLE]:
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder)
        (root / MODEL).unlink(missing_ok=True)


def _stored(folder: Path) -> TrainConfig:
    """Read the settings of the stage in a folder.

    Raises:
        InputError: they are missing or damaged.
    """
    path = folder / SETTINGS
    try:
        config = parse(TrainConfig, read_yaml(path, "file of settings"), "")
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(
            f"{path}: the settings of the run in this folder cannot be used ({reason}); choose "
            "another output folder, or start anew with --overwrite"
        ) from error
    assert isinstance(config, TrainConfig)
    return config


def _names(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the name of every setting in nested tables; a list counts as one setting."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _within(name: str, settings: Collection[str]) -> bool:
    """Return whether a setting is one of `settings`, or lies in a table or list of them."""
    return any(name == s or name.startswith((f"{s}.", f"{s}[")) for s in settings)


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return the values of nested tables and lists by their path."""
    if isinstance(value, Mapping) and (value or not name):
        items = [(f"{name}.{key}" if name else str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        items = [(f"{name}[{k}]", item) for k, item in enumerate(value)]
    else:
        return {name: list(value) if isinstance(value, tuple) else value}
    return {path: v for item_name, item in items for path, v in _flat(item, item_name).items()}


def _plain(value: Any) -> Any:
    """Return nested tables with lists instead of tuples, which YAML does not know."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
