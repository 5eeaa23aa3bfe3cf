"""Writes models as bundle folders, and bundle folders as zip files."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from surgsam2.errors import OutputError
from surgsam2.model.bundle import CONFIGURATION, OWN, WEIGHTS
from surgsam2.model.checkpoint import StateDict, weights_sha256
from surgsam2.model.configs import load_config
from surgsam2.storage.atomic_file import replace, temporary_beside, write_text_atomically, writing
from surgsam2.storage.json_text import parse_json
from surgsam2.version import __version__

NAME = "surgsam2_segmentation"
"""Name of a bundle: of the zip file and of the folder in it. MONAI Label guesses the kind of task
from it."""
_NETWORK_FILE = "configs/network.yaml"
_DATE = (1980, 1, 1, 0, 0, 0)  # the same files make the same zip
_SKIPPED = ("__pycache__", ".*")

_TO_BE_STATED = "to be stated by whoever gives this bundle to others"

_CARD = """\
# A SurgSAM2 model

surgsam2 {version} wrote this bundle: the network `{config}` at {size}x{size} pixels, its weights in
`models/model.pt`. **Not for clinical use.**
{training}
Before this bundle is given to others, state here and in `configs/metadata.json`: the authors and
the licence, the data it was trained on and that data's licence (`docs/data_license.txt`), figures
on data it has not seen (`configs/evaluate.json` measures them), and what it does not do.
"""
_DATA_LICENSE = "The licence of the data that this model was trained on is to be stated here.\n"


def write_bundle(
    folder: Path,
    state: StateDict,
    config: str,
    image_size: int | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a bundle of a model: this package's own bundle with other weights and network.

    An earlier bundle in `folder` is replaced; the new one is complete or absent.

    Args:
        folder: folder of the bundle.
        state: flat state dict; written as it is.
        config: name of the network's configuration, or a YAML file, which is copied.
        image_size: side of the network's square input in pixels; None for the
            configuration's own.
        training: facts about the training, as plain data, from
            `surgsam2.training.facts.training_facts`; None if nothing is known.

    Raises:
        InputError: the configuration cannot be read.
        OutputError: the folder holds something else, or the disk refuses.
    """
    size = load_config(config, image_size)["image_size"]
    if folder.exists() and not (folder / CONFIGURATION).is_file():
        raise OutputError(f"cannot write {folder}: it is there, and is no bundle; choose another")
    unfinished = temporary_beside(folder)
    with writing(folder):
        try:
            ignored = shutil.ignore_patterns(WEIGHTS.parent.name, *_SKIPPED)
            shutil.copytree(OWN, unfinished, ignore=ignored)
            if Path(config).suffix in (".yaml", ".yml"):
                shutil.copyfile(config, unfinished / _NETWORK_FILE)
                config = _NETWORK_FILE
            _describe(unfinished, config, size, weights_sha256(state), training or {})
            (unfinished / WEIGHTS).parent.mkdir()
            # The name of a file would become part of its content, and PyTorch hides the reason
            # when it cannot write a file by name.
            with (unfinished / WEIGHTS).open("xb") as file:
                torch.save(state, file)
            if folder.exists():
                shutil.rmtree(folder)
            replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _describe(
    folder: Path, config: str, size: int, weights: str, training: Mapping[str, Any]
) -> None:
    """Replace the description of the built-in model in the copied files by that of this model."""

    def network(content: dict[str, Any]) -> None:
        content["network_def"].update(config=config, image_size=size)

    def metadata(content: dict[str, Any]) -> None:
        content["version"] = "0.1.0"
        content["changelog"] = {"0.1.0": f"written by surgsam2 {__version__}"}
        content["description"] = f"A SurgSAM2 model: {config} at {size}x{size} pixels."
        for name in ("authors", "copyright", "data_source", "label_classes"):
            content[name] = _TO_BE_STATED
        kinds = {source["kind"] for source in training.get("data", [])}
        content["data_type"] = "synthetic" if kinds == {"synthetic"} else _TO_BE_STATED
        content["intended_use"] = "Research. Not for clinical use."
        content["weights_sha256"] = weights
        content["eval_metrics"] = dict(training.get("validation", {}).get("metrics", {}))
        content["training"] = dict(training)
        for tensors in content["network_data_format"].values():
            for tensor in tensors.values():
                tensor["spatial_shape"] = [size, size]

    for name in (CONFIGURATION.name, "train.json", "evaluate.json"):
        _edit(folder / CONFIGURATION.with_name(name), network)
    _edit(folder / "configs" / "metadata.json", metadata)
    facts = [f"- {name.replace('_', ' ')}: `{json.dumps(v)}`" for name, v in training.items()]
    section = "\n".join(["", "## Training", "", *facts, ""]) if facts else ""
    card = _CARD.format(version=__version__, config=config, size=size, training=section)
    write_text_atomically(folder / "docs" / "README.md", card)
    write_text_atomically(folder / "docs" / "data_license.txt", _DATA_LICENSE)


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = parse_json(path.read_text(encoding="utf-8"))
    change(content)
    write_text_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def copy_bundle(source: Path, folder: Path) -> None:
    """Copy a bundle folder to a new place; the copy is complete or absent.

    Raises:
        OutputError: something is there already, or the disk refuses.
    """
    if folder.exists():
        raise OutputError(f"cannot write {folder}: it is there already; choose another")
    _files(source)
    unfinished = temporary_beside(folder)
    with writing(folder):
        try:
            shutil.copytree(source, unfinished, ignore=shutil.ignore_patterns(*_SKIPPED))
            replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    """Return the files of a bundle, from its folder; hidden files are left out.

    Raises:
        OutputError: a file or folder is a link. It may lead to a file that is nobody's business.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        file = path.relative_to(folder)
        if any(part[0] == "." or part == "__pycache__" for part in file.parts):
            continue
        if path.is_symlink():
            raise OutputError(
                f"{path}: is a link, so the bundle is not packed; put the file itself there"
            )
        if path.is_file():
            found.append(file)
    return found


def zip_bundle(folder: Path, path: Path) -> None:
    """Pack a bundle folder as `NAME` into a zip file, complete or absent.

    Equal folders give equal files.

    Raises:
        OutputError: the disk refuses.
    """
    unfinished = temporary_beside(path)
    files = _files(folder)
    with writing(path):
        try:
            with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:  # noqa: TID251
                for file in files:
                    entry = zipfile.ZipInfo(f"{NAME}/{file.as_posix()}", _DATE)
                    entry.external_attr = 0o644 << 16
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, (folder / file).read_bytes())
            replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
