"""Short names of runs, different for different runs.

Names are chosen before anything runs. Tables, charts and files identify runs by them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def path_names(paths: Sequence[str]) -> list[str]:
    """Return the last part of each path, with as many parent folders as tell paths apart.

    The extension of a file is left out unless two files differ only by it. Text that is
    not the path of an existing file or folder, such as the name of a known model, is
    returned unchanged.
    """
    full_paths = {path: _absolute(path) for path in paths}
    stems = {full: full.with_suffix("") if full.is_file() else full for full in full_paths.values()}
    twins = Counter(stems.values())
    parts = {
        full: (stem if twins[stem] == 1 else full).parts[1 if full.is_absolute() else 0 :]
        for full, stem in stems.items()
    }
    depth = dict.fromkeys(parts, 1)
    while True:
        names = {full: "/".join(parts[full][-count:]) for full, count in depth.items()}
        times = Counter(names.values())
        longer = [w for w, n in names.items() if times[n] > 1 and depth[w] < len(parts[w])]
        if not longer:
            return [names[full_paths[path]] or "root" for path in paths]
        for full in longer:
            depth[full] += 1


def model_names(
    labels: Sequence[str],
    configs: Sequence[str],
    image_sizes: Sequence[int],
    prunings: Sequence[str],
) -> list[str]:
    """Return names such as "best, 512, EFP", with the configuration where names are equal.

    Args:
        labels: Names of the models.
        configs: Names of their configurations.
        image_sizes: Side of their input in pixels.
        prunings: How each treats its memories, from `pruning_name`.
    """
    rest = [f"{size}, {text}" for size, text in zip(image_sizes, prunings, strict=True)]
    short = [f"{label}, {text}" for label, text in zip(labels, rest, strict=True)]
    names = []
    for label, config, text, name in zip(labels, configs, rest, short, strict=True):
        twins = {c for c, other in zip(configs, short, strict=True) if other == name}
        names.append(f"{label}, {config}, {text}" if len(twins) > 1 else name)
    return numbered(names)


def pruning_name(form: str, memory: str = "efp") -> str:
    """Return a short name of a form of pruning and, where it is not the default, of a policy."""
    if memory == "window":
        return "memory window"
    pruning = {"off": "EFP off", "capped": "EFP"}.get(form, f"EFP {form}")
    return pruning if memory == "efp" else f"{pruning}, memory {memory}"


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names with a number added to each one that occurred before."""
    unique: list[str] = []
    for name in names:
        count, candidate = 1, name
        while candidate in unique or (count > 1 and candidate in names):
            count += 1
            candidate = f"{name} ({count})"
        unique.append(candidate)
    return unique


def _absolute(path: str) -> Path:
    expanded = Path(path).expanduser()
    # Links are not resolved, so that a link keeps the name its user gave it.
    return Path(os.path.abspath(expanded)) if expanded.exists() else Path(path)  # noqa: PTH100
