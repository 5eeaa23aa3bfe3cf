"""Draw ``returns.png``: mean J over the frames after a return, for each memory policy.

    surgsam2 evaluate --protocol returns --memory efp,window,diverse,reliable,reliable-diverse \
        --min-similarity 0.6 --prompts mask --baselines none --output OUT
    python docs/images/make_returns_picture.py OUT/results.json

It needs matplotlib. Only absences of 50 frames are drawn, one panel for each event.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path
from statistics import fmean
from typing import Any

from surgsam2.evaluation.truth.returns import parse_name

ABSENCE = 50
FRAMES = 30
"""Number of frames after the return that are drawn; all clips have so many."""
COLOURS = {
    "efp": "#2a78b8",
    "window": "#7a7a7a",
    "diverse": "#3f9c63",
    "reliable": "#d9822b",
    "reliable-diverse": "#a3543f",
}


def courses(results: list[Path]) -> dict[str, dict[str, list[float]]]:
    """Return mean J over the frames from the return on, by event and policy."""
    found: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for path in results:
        for run in json.loads(path.read_text(encoding="utf-8"))["runs"]:
            for sequence in run["sequences"]:
                event, absence, _ = parse_name(sequence["name"])
                returns = [r for item in sequence["objects"] for r in item["returns"]]
                if absence == ABSENCE:
                    policy = run["memory"].partition(",")[0]
                    found[event][policy] += [r["course"][:FRAMES] for r in returns]
    return {
        event: {policy: mean_course(each) for policy, each in policies.items()}
        for event, policies in found.items()
    }


def mean_course(each: list[list[float]]) -> list[float]:
    """Return the mean of courses, frame by frame, over those that are long enough."""
    return [fmean(v for v in frame if v is not None) for frame in zip_longest(*each)]


def draw(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Write the picture."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1,
        len(found),
        figsize=(3.2 * len(found), 3.2),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    panel: Any
    for panel, (event, policies) in zip(axes[0], found.items(), strict=True):
        for policy, course in policies.items():
            panel.plot(course, color=COLOURS[policy], label=policy)
        panel.set(title=event, xlabel="frames after the return", ylim=(0, 1))
        panel.grid(alpha=0.3)
    axes[0, 0].set_ylabel("mean J")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    draw(courses([Path(name) for name in sys.argv[1:]]), Path(__file__).parent / "returns.png")
