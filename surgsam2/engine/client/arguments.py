"""Turns what a caller gives into what an engine process understands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from surgsam2.model.options import ModelOptions


def interpreter(python: str | Path) -> str:
    """Return an interpreter as a process in another folder finds it.

    A bare name is one on the PATH.
    """
    return str(python) if Path(python).name == str(python) else str(Path(python).absolute())


def model_options(
    name_or_path: str | Path | ModelOptions, more: dict[str, Any], here: bool
) -> ModelOptions:
    """Return the options of a model; files are located if the engine runs on this machine."""
    locate: Callable[[str | Path], str] = _located if here else str
    if isinstance(name_or_path, ModelOptions):
        more = {**name_or_path.as_mapping(), **more}
        name_or_path = name_or_path.model
    pruning = more.get("pruning")
    if is_dataclass(pruning) and not isinstance(pruning, type):
        pruning = asdict(pruning)
    if isinstance(pruning, Mapping):
        more = {name: value for name, value in more.items() if name != "pruning"}
        more |= {"pruning" if name == "form" else name: v for name, v in pruning.items()}
    if isinstance(more.get("config"), str | Path):
        more = {**more, "config": locate(more["config"])}
    return ModelOptions.from_mapping({**more, "model": locate(name_or_path)}, "model options")


def _located(name_or_path: str | Path) -> str:
    """Return a file or bundle as the engine process finds it, which runs in another folder."""
    path = Path(name_or_path)
    is_path = isinstance(name_or_path, Path) or path.is_file() or (path / "configs").is_dir()
    return str(path.absolute() if is_path else name_or_path)
