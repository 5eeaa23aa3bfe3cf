"""The files of a run in each of `FORMATS`, and its report.

A run prepares a folder, opens the writers of the chosen formats, writes frame by frame and
finishes the folder; nothing is collected in memory.

    prepare_output(folder)                       # creates it with the file INCOMPLETE
    with OutputSet(folder, ["png", "csv"], context) as outputs:
        for frame, result in ...:
            outputs.write(frame, result)
    write_report(folder, report)
    finish_output(folder)                        # removes the file INCOMPLETE
"""

from __future__ import annotations

from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.outputs.coco import CocoWriter
from surgsam2.outputs.collected import to_coco, to_pandas
from surgsam2.outputs.drawing import draw_overlay
from surgsam2.outputs.label_png import LabelPngWriter, label_map
from surgsam2.outputs.output_set import FORMATS, OutputSet
from surgsam2.outputs.overlay import OverlayWriter
from surgsam2.outputs.report import collect_versions, write_report
from surgsam2.outputs.result_record import ResultRecord
from surgsam2.outputs.result_writer import ResultWriter
from surgsam2.outputs.scene import SceneWriter
from surgsam2.outputs.table import TableWriter
from surgsam2.storage.output_folder import (
    ANNOTATION,
    INCOMPLETE,
    PROMPTS,
    RESUME,
    HeldOutput,
    begin_output,
    finish_output,
    hold_output,
    is_ours,
    prepare_output,
)

__all__ = [
    "ANNOTATION",
    "FORMATS",
    "INCOMPLETE",
    "PROMPTS",
    "RESUME",
    "CocoWriter",
    "HeldOutput",
    "LabelPngWriter",
    "OutputContext",
    "OutputSet",
    "OutputWriter",
    "OverlayWriter",
    "ResultRecord",
    "ResultWriter",
    "SceneWriter",
    "TableWriter",
    "begin_output",
    "collect_versions",
    "draw_overlay",
    "finish_output",
    "hold_output",
    "is_ours",
    "label_map",
    "prepare_output",
    "to_coco",
    "to_pandas",
    "write_report",
]
