"""Names of runs: short, and different for different runs.

They are settled before anything runs; tables, charts and files tell runs apart by them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def path_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path, with the parent folders it takes to tell paths apart.

    The extension of a file is left out unless two differ by it only. What is not a path
    of this machine (the name of a known model) stays as it is.
    """
    wholes = {path: _whole(path) for path in paths}
    stems = {
        whole: whole.with_suffix("") if whole.is_file() else whole for whole in wholes.values()
    }
    twins = Counter(stems.values())
    parts = {
        whole: (stem if twins[stem] == 1 else whole).parts[1 if whole.is_absolute() else 0 :]
        for whole, stem in stems.items()
    }
    depth = dict.fromkeys(parts, 1)
    while True:
        names = {whole: "/".join(parts[whole][-count:]) for whole, count in depth.items()}
        times = Counter(names.values())
        longer = [w for w, n in names.items() if times[n] > 1 and depth[w] < len(parts[w])]
        if not longer:
            return [names[wholes[path]] or "root" for path in paths]
        for whole in longer:
            depth[whole] += 1


def model_names(
    labels: Sequence[str],
    configs: Sequence[str],
    image_sizes: Sequence[int],
    prunings: Sequence[str],
) -> list[str]:
    """Names such as "best, 512, EFP"; with the configuration where that is not enough."""
    rest = [f"{size}, {_efp(form)}" for size, form in zip(image_sizes, prunings, strict=True)]
    short = [f"{label}, {text}" for label, text in zip(labels, rest, strict=True)]
    names = []
    for label, config, text, name in zip(labels, configs, rest, short, strict=True):
        twins = {c for c, other in zip(configs, short, strict=True) if other == name}
        names.append(f"{label}, {config}, {text}" if len(twins) > 1 else name)
    return numbered(names)


def numbered(names: Sequence[str]) -> list[str]:
    """The same names, with a number after each that was there before."""
    unique: list[str] = []
    for name in names:
        count, candidate = 1, name
        while candidate in unique or (count > 1 and candidate in names):
            count += 1
            candidate = f"{name} ({count})"
        unique.append(candidate)
    return unique


def _efp(form: str) -> str:
    return {"off": "EFP off", "capped": "EFP"}.get(form, f"EFP {form}")


def _whole(path: str) -> Path:
    there = Path(path).expanduser()
    # not resolved: a link has the name that its user gave it
    return Path(os.path.abspath(there)) if there.exists() else Path(path)  # noqa: PTH100
