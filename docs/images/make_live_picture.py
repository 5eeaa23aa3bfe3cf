"""Make docs/images/slicer-live.png: the live section while it runs, beside the Red view.

A generated operation plays in the scene, as a camera would fill a volume, and the built-in
model segments it: slowly enough for a processor without a GPU. See make_slicer_pictures.py
for how the panel and the view are drawn without Slicer.

    python docs/images/make_live_picture.py
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import surgsam2  # noqa: E402
from surgsam2.data import generate_clip  # noqa: E402
from tests.mrml.render import red_view  # noqa: E402
from tests.slicer_host.host import SlicerHost  # noqa: E402

PICTURE = Path(__file__).with_name("slicer-live.png")
MODULE = REPOSITORY / "SurgSAM2Extension" / "SurgSAM2" / "SurgSAM2.py"
SEED, FRAMES, SIZE = 32, 60, (640, 480)
FPS = 2
PANEL_WIDTH = 430
SEGMENTED = 25


def main() -> None:
    """Start the session, mark the objects in a held frame, continue and take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        host = SlicerHost(Path(folder))
        host.reset()
        try:
            Image.fromarray(take(host)).save(PICTURE, optimize=True)
        finally:
            host.close()


def take(host: SlicerHost) -> np.ndarray:
    """Return the picture, (H, W, 3) uint8."""
    import slicer

    from surgsam2.mrml import load_video

    clip = generate_clip(SEED, frames=FRAMES, size=SIZE, difficulty="easy")
    frames, truth = clip.arrays()
    video = load_video(slicer.mrmlScene, surgsam2.open_video(frames), name="camera")
    host.load_module(MODULE)
    slicer.util.selectModule("SurgSAM2")
    panel = slicer.modules.SurgSAM2Widget
    panel.logic.setModel("demo", device="cpu")
    ui, logic = panel.live.ui, panel.logic
    ui.liveCollapsibleButton.collapsed = False
    ui.liveVolumeSelector.setCurrentNode(video.volume)
    ui.liveButton.click()
    logic.removeLiveObject(1)
    play(host, video, logic.live, lambda: logic.liveStatistics().segmented > 0)
    frame = video.current_frame
    ui.liveHoldButton.click()
    for obj in clip.objects:
        mask = truth[frame] == obj.id
        if mask.any():
            logic.addLivePrompt(logic.addLiveObject(obj.name), box=box_of(mask))
    ui.liveHoldButton.click()
    ui.liveRecordButton.click()
    play(host, video, logic.live, lambda: logic.liveStatistics().segmented >= SEGMENTED)
    panel.context.refresh()
    shown = logic.live._last[0].pixels  # masks are of this picture, some frames ago
    video.current_frame = int(np.flatnonzero((frames == shown).all(axis=(1, 2, 3)))[0])
    view = red_view(slicer.mrmlScene, video.volume, *SIZE)
    section = photograph(panel, host, ui.liveCollapsibleButton)
    ui.liveButton.click()
    return beside(section, view)


def play(host: SlicerHost, video: Any, live: Any, done: Callable[[], bool]) -> None:
    """Play the video in a loop until `done`. Raises `RuntimeError` when the session ends."""
    due = time.monotonic()
    while not done():
        if not live.running:
            raise RuntimeError(f"the live session has ended: {live.message}")
        if time.monotonic() >= due:
            due = time.monotonic() + 1 / FPS
            video.current_frame = (video.current_frame + 1) % video.frame_count
        host.process_events(1)
        time.sleep(0.002)


def box_of(mask: np.ndarray) -> list[float]:
    """Return the box of a mask: x0, y0, x1, y1."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [float(v) for v in (columns[0], rows[0], columns[-1], rows[-1])]


def photograph(panel: Any, host: SlicerHost, section: Any) -> np.ndarray:
    """Return the section as a (H, W, 3) uint8 picture, as wide as Slicer's panel."""
    whole = panel.parent
    whole.resize(PANEL_WIDTH, 10)
    whole.show()
    host.process_events()
    whole.resize(PANEL_WIDTH, whole.layout().sizeHint().height())
    host.process_events()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "section.png"
        section.grab().save(str(path))
        return np.asarray(Image.open(path).convert("RGB"))


def beside(section: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Put the section to the left of the view, on white."""
    height = max(len(section), len(view))
    padded = np.full((height, section.shape[1] + 10 + view.shape[1], 3), 255, np.uint8)
    padded[: len(section), : section.shape[1]] = section
    padded[: len(view), section.shape[1] + 10 :] = view
    return padded


if __name__ == "__main__":
    main()
