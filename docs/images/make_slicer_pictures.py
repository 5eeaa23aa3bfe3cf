"""Make the pictures of docs/slicer.md: the panel and the Red view, without Slicer.

The panel is the module's own, shown by the tests' stand-in for Slicer's application (its
buttons look a little different there); the view is drawn by Slicer's own code from the
slicer-core package. The video is a generated one, tracked by the built-in model.

    python docs/images/make_slicer_pictures.py
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from surgsam2.data import generate_clip  # noqa: E402
from tests.mrml.render import MANAGERS, MARKUPS_MANAGER, red_view  # noqa: E402
from tests.slicer_host.host import SlicerHost  # noqa: E402

FOLDER = Path(__file__).parent
MODULE = REPOSITORY / "SurgSAM2Extension" / "SurgSAM2" / "SurgSAM2.py"
SEED, FRAMES, SIZE = 32, 40, (640, 480)
PANEL_WIDTH = 430
CLASSES = ("Other anatomy", "Instrument")
"""Classes of the clip's objects."""


def main() -> None:
    """Do what a new user does and take the pictures on the way."""
    with tempfile.TemporaryDirectory() as folder:
        host = SlicerHost(Path(folder))
        host.reset()
        try:
            take_all(host, Path(folder))
        finally:
            host.close()
        if host.slot_errors:
            raise RuntimeError("\n".join(host.slot_errors))


def take_all(host: SlicerHost, folder: Path) -> None:
    """Take the pictures in the order of the page."""
    clip = generate_clip(SEED, frames=FRAMES, size=SIZE, difficulty="easy")
    video, truth = clip.arrays()
    panel = open_panel(host)
    look_at_video(panel, host, video, folder)
    for obj, name in zip(clip.objects, CLASSES, strict=True):
        prompt(panel, name, truth[0] == obj.id)
    panel.context.select_object(1)
    settle(panel, host)
    save_panel(panel, host, "slicer-classes.png", panel.ui.objectsCollapsibleButton)
    save(view(panel, host, 0), "slicer-prompts.png")
    for obj in clip.objects:  # the built-in model follows painted masks best
        panel.logic.setMask(obj.id, truth[0] == obj.id, frame=0)
    settle(panel, host)
    panel.ui.trackButton.click()
    while (
        panel.logic.engine.tracking.done if panel.logic.engine.tracking else FRAMES
    ) < FRAMES // 2:
        panel.logic.processEvents(0.05)
    host.process_events(10)
    panel.tracking.refresh()
    save_panel(panel, host, "slicer-panel-tracking.png")
    settle(panel, host)
    save_panel(panel, host, "slicer-panel-768.png", height=768)
    correct_the_worst(panel, host, truth)
    take_timeline(panel, host)
    open_all(panel)
    save_panel(panel, host, "slicer-panel.png")


def open_panel(host: SlicerHost) -> Any:
    """Open the module's panel, without and with the packages that it needs."""
    import slicer

    host.load_module(MODULE)
    slicer.util.selectModule("SurgSAM2")
    panel = slicer.modules.SurgSAM2Widget
    from SurgSAM2Lib.install import requirements

    installed, requirements.installedVersion = requirements.installedVersion, lambda name: ""
    panel.setup_section.check()
    save_panel(panel, host, "slicer-setup.png", panel.ui.setupCollapsibleButton)
    requirements.installedVersion = installed
    panel.setup_section.check()
    panel.logic.setModel("demo", device="cpu")
    return panel


def look_at_video(panel: Any, host: SlicerHost, video: np.ndarray, folder: Path) -> None:
    """Show the loading options, then the video in the scene."""
    from PIL import Image

    frames = folder / "operation"
    frames.mkdir()
    for k, frame in enumerate(video):
        Image.fromarray(frame).save(frames / f"{k:05d}.png")
    panel.video.look_at(frames)
    save_panel(panel, host, "slicer-loading.png", panel.ui.videoCollapsibleButton)
    panel.ui.loadButton.click()
    settle(panel, host)


def prompt(panel: Any, class_name: str, mask: np.ndarray) -> None:
    """Prompt an object with a box and a point in its middle, on the first frame."""
    panel.ui.addObjectButton.click()
    panel.logic.setClass(panel.context.selected, class_name)
    panel.logic.setBox(panel.context.selected, box_of(mask), frame=0)
    x, y = middle_of(mask)
    panel.logic.addPoint(panel.context.selected, x, y, frame=0)


def correct_the_worst(panel: Any, host: SlicerHost, truth: np.ndarray) -> None:
    """Correct the worst frame by painting its true mask, and track again from there."""
    logic = panel.logic
    ids = [style.id for style in logic.session.objects]
    scores = {
        (i, k): overlap(logic.getMask(i, k), truth[k] == i)
        for i in ids
        for k in range(FRAMES // 4, FRAMES // 2)
    }
    object_id, frame = min(scores, key=lambda key: scores[key])
    later = frame + 5
    panel.context.select_object(object_id)
    before = [view(panel, host, frame), view(panel, host, later)]
    logic.setMask(object_id, truth[frame] == object_id, frame=frame)
    logic.session.video.current_frame = frame
    panel.ui.trackForwardButton.click()
    settle(panel, host)
    after = [view(panel, host, frame), view(panel, host, later)]
    both = np.vstack([np.hstack(before), np.hstack(after)])
    save(cv2.resize(both, SIZE, interpolation=cv2.INTER_AREA), "slicer-correction.png")
    save(after[1], "slicer-result.png")


def take_timeline(panel: Any, host: SlicerHost) -> None:
    """Photograph the timeline with good frames, an absent object and a selected range."""
    ids = [style.id for style in panel.logic.session.objects]
    panel.logic.markGood(range(2, 6))
    panel.logic.markAbsent(30, 35, [ids[-1]])
    panel.logic.session.video.current_frame = 22
    panel.timeline.select(18, 26)
    panel.context.refresh()
    save_panel(panel, host, "slicer-timeline.png", panel.ui.videoCollapsibleButton)


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Return the intersection over union, or 1 where both masks are empty."""
    either = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / either if either else 1.0


def box_of(mask: np.ndarray) -> list[float]:
    """Return the box of a mask: x0, y0, x1, y1."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [float(v) for v in (columns[0], rows[0], columns[-1], rows[-1])]


def middle_of(mask: np.ndarray) -> tuple[float, float]:
    """Return (x, y) of the pixel that is farthest from the mask's edge."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(x) - 1, float(y) - 1


def settle(panel: Any, host: SlicerHost) -> None:
    """Wait until the engine has answered."""
    panel.logic.wait()
    host.process_events(10)


def view(panel: Any, host: SlicerHost, frame: int) -> np.ndarray:
    """Return a picture of the Red view at a frame."""
    import slicer

    video = panel.logic.session.video
    video.current_frame = frame
    settle(panel, host)
    return red_view(slicer.mrmlScene, video.volume, *SIZE, managers=(*MANAGERS, MARKUPS_MANAGER))


def open_all(panel: Any) -> None:
    """Open all sections of the panel."""
    for name in ("setup", "video", "objects", "tracking", "correct", "advanced"):
        getattr(panel.ui, f"{name}CollapsibleButton").collapsed = False


def save_panel(
    panel: Any, host: SlicerHost, name: str, part: Any = None, height: int | None = None
) -> None:
    """Save a picture of the panel, or of a part of it, or of the upper part of some height."""
    whole = panel.parent
    whole.resize(PANEL_WIDTH, 10)
    whole.show()
    host.process_events()
    whole.resize(PANEL_WIDTH, whole.layout().sizeHint().height())
    host.process_events()
    picture = (part or whole).grab()
    if height is not None:
        picture = picture.copy(0, 0, whole.width, height)
    picture.save(str(FOLDER / name))


def save(picture: np.ndarray, name: str) -> None:
    """Save a picture under `docs/images`."""
    from PIL import Image

    Image.fromarray(picture).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    main()
