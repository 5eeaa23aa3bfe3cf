"""The worst frames as pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from surgsam2.evaluation.page.parts import percent
from surgsam2.evaluation.page.runs import long_name
from surgsam2.evaluation.record import Record


def worst_section(runs: Sequence[Record]) -> str:
    """Pictures by run, the first run unfolded; empty without pictures."""
    blocks: list[str] = []
    for run in runs:
        figures = []
        for moment in run.get("worst") or []:
            if not moment.get("jpeg"):
                continue
            data = base64.b64encode(moment["jpeg"]).decode("ascii")
            name = moment["name"] or f"object {moment['object']}"
            text = f"{moment['sequence']}, frame {moment['frame']}, {name}"
            figures.append(
                f'<figure><img src="data:image/jpeg;base64,{data}" alt="{escape(text)}">'
                f"<figcaption>{escape(text)}<br>"
                f'<span class="soft">J {percent(moment["J"])} · F {percent(moment["F"])}</span>'
                "</figcaption></figure>"
            )
        if figures:
            label = long_name(run)
            blocks.append(
                f"<details{'' if blocks else ' open'}><summary>{escape(label)}</summary>"
                f'<div class="thumbs">{"".join(figures)}</div></details>'
            )
    if not blocks:
        return ""
    return (
        "<section><h2>Worst frames</h2>"
        '<p class="note">The worst frame of each object. Orange: the prediction. Green outline: '
        "the truth.</p>" + "".join(blocks) + "</section>"
    )
