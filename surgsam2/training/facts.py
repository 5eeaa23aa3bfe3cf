"""Facts about a training that the bundle of its model states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from surgsam2.errors import InputError
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.shape import check_shape
from surgsam2.storage.yaml_file import read_yaml
from surgsam2.training.run_folder import HISTORY, SETTINGS


def training_facts(folder: Path) -> dict[str, Any]:
    """Return what is known about the training of a stage, without paths of data.

    Args:
        folder: the folder of the stage, with its settings and its history.

    Returns:
        Plain data: the recipe, the weights it started from, seed, steps, optimizer, the kinds of
        data, and the conditions and figures of the validation where there was one.
    """
    settings = read_yaml(folder / SETTINGS, "file of settings")
    ended = _last_event(folder / HISTORY, "ended")
    facts = {
        "recipe": settings["name"],
        "started_from": Path(str(settings["model"])).name,
        "seed": settings["seed"],
        "epochs": settings["epochs"],
        "steps": ended.get("step"),
        "image_size": settings["image_size"],
        "optimizer": settings["optimizer"],
        "data": [{"kind": source["kind"]} for source in settings["data"]],
    }
    sources = settings["validation"]["sources"]
    best, start = ended.get("best"), ended.get("start_score")
    if sources and best is not None:
        facts["validation"] = {
            "data": [{"kind": source["kind"]} for source in sources],
            "clips": settings["validation"]["clips"],
            "frames": settings["validation"]["frames"],
            "prompts": list(settings["validation"]["prompts"]),
            "metrics": {"J&F on the validation clips": best}
            | ({} if start is None else {"J&F of the weights it started from": start}),
        }
    return facts


def _last_event(path: Path, event: str) -> dict[str, Any]:
    """Return the last entry of a history with this event; empty if there is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    try:
        entries = [parse_json(line) for line in lines]
        check_shape(entries, [{"event": str}])
    except ValueError as error:
        raise InputError(f"{path}: the history cannot be read ({error})") from error
    return next((entry for entry in reversed(entries) if entry["event"] == event), {})
