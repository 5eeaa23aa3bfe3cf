"""The model's own estimates against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from surgsam2.evaluation import charts
from surgsam2.evaluation.page.parts import percent, plain, table
from surgsam2.evaluation.page.runs import css_of, group_order, key_of, long_name
from surgsam2.evaluation.record import Record


def estimates_section(scored: Sequence[Record]) -> str:
    """Empty where no run has estimates."""
    judged = [run for run in scored if run.get("estimates")]
    if not judged:
        return ""
    head = ["", "IoU error", "IoU bias", "correlation", "calibration error"]
    head += ["visible: precision / recall", "hidden: precision / recall", "AUROC"]
    oracle = any(run.get("oracle") for run in judged)
    head += ["chosen J", "oracle J"] if oracle else []
    rows, pictures = [], []
    for run in sorted(judged, key=group_order):
        iou, presence = run["estimates"]["predicted_iou"], run["estimates"]["presence"]
        label = long_name(run)
        cells = [
            percent(iou.get("mean_absolute_error")),
            percent(iou.get("bias"), sign=True),
            plain(iou.get("correlation")),
            percent(iou.get("expected_calibration_error")),
            " / ".join(percent(presence.get(k)) for k in ("precision", "recall")),
            " / ".join(percent(presence.get(k)) for k in ("hidden_precision", "hidden_recall")),
            plain(presence.get("auroc")),
        ]
        if oracle:
            gap = run.get("oracle") or {}
            cells += [percent(gap.get("chosen_j")), percent(gap.get("oracle_j"))]
        rows.append(
            f'<tr><td class="text">{key_of(scored, run)}{escape(label)}</td>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
        if iou.get("bins"):
            plot = charts.reliability(iou["bins"], css_of(scored, run))
            pictures.append(
                f'<figure style="width:220px">{plot}'
                f"<figcaption>{escape(label)}</figcaption></figure>"
            )
    return (
        "<section><h2>The model's own estimates</h2>"
        f"{table(head, rows)}"
        '<p class="note">On the frames after each object\'s prompt. IoU error is the mean distance '
        "of predicted and true IoU; a positive bias is over-confidence. Hidden precision and "
        "recall are about frames where the object is not visible; AUROC 0.5 is chance. In the "
        "plots a calibrated model lies on the diagonal.</p>"
        f'<div class="columns" style="justify-content:flex-start">{"".join(pictures)}</div>'
        "</section>"
    )
