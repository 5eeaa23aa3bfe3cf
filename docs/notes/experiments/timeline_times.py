"""CPU time of the timeline of Slicer's panel for an hour of video: 90,000 frames, 8 objects.

The panel is the module's own in the stand-in of the tests for Slicer's application. Written are the
median of a whole repaint, and the mean of what a tracked frame adds: measuring eight masks of full
HD and bringing the timeline up to date. One core of an AMD Zen 5, busy with other work: 0.65 ms a
repaint, 0.24 ms a tracked frame for the timeline and 4.9 ms for measuring its masks.

    python docs/notes/experiments/timeline_times.py
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

REPOSITORY = Path(__file__).parents[3]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "SurgSAM2Extension" / "SurgSAM2")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from surgsam2.results.review import Measurements  # noqa: E402
from tests.slicer_host.host import SlicerHost  # noqa: E402

FRAMES, OBJECTS, WIDTH, REPAINTS, TRACKED = 90_000, 8, 430, 50, 200


def main() -> None:
    """Measure and print both figures."""
    with tempfile.TemporaryDirectory() as folder:
        host = SlicerHost(Path(folder))
        host.reset()
        try:
            measuring, updating = tracked_frame()
            sys.stdout.write(
                f"repaint: {1000 * repaint():.2f} ms of CPU\n"
                f"tracked frame: {1000 * updating:.3f} ms of CPU for the timeline, "
                f"{1000 * measuring:.2f} ms for measuring the masks\n"
            )
        finally:
            host.close()


def repaint() -> float:
    """Return the seconds that drawing the whole timeline takes."""
    import qt
    from SurgSAM2Lib.panel.timeline_view import TimelineView

    label = qt.QLabel()
    label.resize(WIDTH, 100)
    rows = list(np.random.default_rng(3).integers(0, 7, (OBJECTS, FRAMES)).astype(np.uint8))
    view = TimelineView(label, lambda frame: None, lambda first, last: None)
    times = []
    for frame in range(REPAINTS):
        start = time.process_time()
        view.show(rows, ["#11aa55"] * OBJECTS, frame, (10, 2000))
        times.append(time.process_time() - start)
    return float(np.median(times))


def tracked_frame() -> tuple[float, float]:
    """Return the seconds for measuring the masks of a frame and for updating the timeline."""
    from SurgSAM2Lib.session.timeline import Timeline

    measurements = Measurements(FRAMES)
    ids = range(1, OBJECTS + 1)
    for object_id in ids:
        measurements.put(object_id, "area", np.full(FRAMES, np.nan, np.float32))
    nothing = SimpleNamespace(frames=lambda object_id: [])
    session = SimpleNamespace(
        good=(), absent=lambda object_id: (), prompts=nothing,
        objects=[SimpleNamespace(id=object_id) for object_id in ids],
        review=SimpleNamespace(measurements=measurements, stretches=()),
    )  # fmt: skip
    timeline = Timeline(session)  # type: ignore[arg-type]
    mask = np.zeros((1080, 1920), bool)
    mask[300:700, 500:1200] = True
    measuring = updating = 0.0
    for frame in range(TRACKED):
        start = time.process_time()
        for object_id in ids:
            measurements.measure(frame, object_id, mask)
        middle = time.process_time()
        timeline.update(frame)
        measuring += middle - start
        updating += time.process_time() - middle
    return measuring / TRACKED, updating / TRACKED


if __name__ == "__main__":
    main()
