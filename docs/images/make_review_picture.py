"""Make docs/images/slicer-review.png: a doubtful stretch, as the module shows it.

A generated video is tracked by the built-in model; a few of its frames are covered, as by
smoke, where the model is least sure. The view is drawn by Slicer's own code, the chart by VTK from
the very plot nodes that Slicer's plot view draws, the panel by the module.

    python docs/images/make_review_picture.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import make_slicer_pictures as slicer_pictures
from make_slicer_pictures import FOLDER, FRAMES, MODULE, SIZE, settle, view

from surgsam2.data import generate_clip
from tests.mrml.render import window_pixels
from tests.slicer_host.host import SlicerHost

NAME = "slicer-review.png"
SMOKE = slice(16, 21)
PLOT_HEIGHT = 300


def main() -> None:
    """Take the picture and write it."""
    with tempfile.TemporaryDirectory() as folder:
        host = SlicerHost(Path(folder))
        host.reset()
        try:
            save(reviewed(host), host)
        finally:
            host.close()


def reviewed(host: SlicerHost) -> Any:
    """Return the panel with a tracked video, at a doubtful stretch."""
    import slicer

    from surgsam2 import open_video
    from surgsam2.mrml import load_video

    host.load_module(MODULE)
    slicer.util.selectModule("SurgSAM2")
    panel = slicer.modules.SurgSAM2Widget
    panel.logic.setModel("demo", device="cpu")
    clip = generate_clip(slicer_pictures.SEED, frames=FRAMES, size=SIZE, difficulty="easy")
    video, truth = clip.arrays()
    video = np.array(video)
    video[SMOKE] = (0.12 * video[SMOKE] + 0.88 * 205).astype(np.uint8)
    nodes = load_video(slicer.mrmlScene, open_video(video), name="operation")
    panel.context.choose_video(nodes.browser)
    for item, name in zip(clip.objects, slicer_pictures.CLASSES, strict=True):
        panel.logic.setMask(panel.logic.addObject(className=name), truth[0] == item.id, frame=0)
    panel.logic.track(wait=True)
    settle(panel, host)
    panel.review.ui.plotComboBox.currentIndex = 1
    panel.review.ui.plotComboBox.activated.emit(1)
    nodes.current_frame = SMOKE.start - 1
    panel.review.ui.nextDoubtfulButton.click()
    settle(panel, host)
    return panel


def save(panel: Any, host: SlicerHost) -> None:
    """Save the view and the panel's section side by side, with the chart below them."""
    from PIL import Image

    chart = panel.logic.session.review.nodes.chart("scores")
    shown = view(panel, host, panel.logic.session.video.current_frame)
    top = np.hstack([shown, section(panel, host, len(shown))])
    picture = np.vstack([top, draw(chart, top.shape[1], PLOT_HEIGHT)])
    Image.fromarray(picture).save(FOLDER / NAME, optimize=True)


def section(panel: Any, host: SlicerHost, height: int) -> np.ndarray:
    """Return the section *Review* of the panel as a picture."""
    from PIL import Image

    part = panel.review.ui.reviewCollapsibleButton
    part.collapsed = False
    slicer_pictures.save_panel(panel, host, NAME, part)
    with Image.open(FOLDER / NAME) as image:
        pixels = np.asarray(image.convert("RGB"))[:height]
    missing = np.broadcast_to(pixels[-1:], (height - len(pixels), *pixels.shape[1:]))
    return np.vstack([pixels, missing])


def draw(chart: Any, width: int, height: int) -> np.ndarray:
    """Draw a chart as Slicer's plot view does, with the lines and markers of the series nodes."""
    import vtk

    plot = vtk.vtkChartXY()
    plot.SetTitle(chart.GetTitle())
    plot.SetShowLegend(True)
    plot.GetLegend().SetLabelSize(10)
    plot.GetLegend().SetVerticalAlignment(vtk.vtkChartLegend.BOTTOM)
    for axis, title in ((0, chart.GetYAxisTitle()), (1, chart.GetXAxisTitle())):
        plot.GetAxis(axis).SetTitle(title)
    if not chart.GetYAxisRangeAuto():
        plot.GetAxis(0).SetBehavior(vtk.vtkAxis.FIXED)
        plot.GetAxis(0).SetRange(chart.GetYAxisRange())
    for k in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(k)
        line = vtk.vtkPlotLine()
        line.SetInputData(
            series.GetTableNode().GetTable(), series.GetXColumnName(), series.GetYColumnName()
        )
        line.SetColorF(*series.GetColor())
        line.SetWidth(series.GetLineWidth())
        line.GetPen().SetLineType(series.GetLineStyle())
        line.SetMarkerStyle(series.GetMarkerStyle())
        line.SetMarkerSize(series.GetMarkerSize())
        line.SetLabel(series.GetName())
        plot.AddPlot(line)
    context = vtk.vtkContextView()
    context.GetRenderer().SetBackground(1, 1, 1)
    window = context.GetRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(width, height)
    context.GetScene().AddItem(plot)
    window.Render()
    return window_pixels(window)


if __name__ == "__main__":
    main()
