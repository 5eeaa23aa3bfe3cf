# ruff: noqa: PT009, PT027 - Slicer runs tests with unittest
"""`SurgSAM2Test`: the self-test of the module in Slicer."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from surgsam2.errors import InputError, PromptError
from surgsam2.mrml import open_mask_nodes
from surgsam2.video.arrays import ArrayVideo
from SurgSAM2Lib.install.requirements import missingPackages
from SurgSAM2Lib.logic.slicer_logic import SurgSAM2Logic

FRAMES, WIDTH, HEIGHT = 8, 96, 64


class SurgSAM2Test(ScriptedLoadableModuleTest):
    """Tests the module without files or network; tracking only where its packages are."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear(0)
        self.logic = SurgSAM2Logic()

    def tearDown(self) -> None:
        """End the engine process."""
        self.logic.close()

    def runTest(self) -> None:
        """Run every test; Slicer's *Reload and Test* calls this."""
        names = [name for name in dir(self) if name.startswith("test_")]
        for name in names:
            self.setUp()
            try:
                getattr(self, name)()
            finally:
                self.tearDown()
        self.delayDisplay(f"{len(names)} tests passed")

    def test_the_panel_opens(self) -> None:
        """Check that the panel opens and is bound to its settings."""
        slicer.util.selectModule("SurgSAM2")
        slicer.app.processEvents()
        panel = slicer.modules.SurgSAM2Widget
        self.assertTrue(panel.parent.isEntered)
        self.assertIsNotNone(panel.context.parameters)
        self.assertFalse(panel.ui.trackButton.enabled)
        self.assertTrue(panel.ui.trackButton.toolTip)

    def test_video_objects_and_prompts(self) -> None:
        """Check that prompts are kept in the scene and can be undone."""
        browser = self.logic.loadVideo(a_video())
        self.assertEqual(browser.GetNumberOfItems(), FRAMES)
        tool = self.logic.addObject("tool", "#11aa55")
        self.logic.setMask(tool, square(10), frame=0)
        self.logic.addPoint(tool, 30, 20, frame=4)
        self.assertTrue(self.logic.undo())
        other = SurgSAM2Logic()
        other.setVideo(browser)
        self.assertEqual(other.currentSession.prompt_set().frames, (0,))
        self.assertTrue(np.array_equal(other.getMask(tool, 0), square(10)))
        self.assertEqual(other.currentSession.objects[tool].name, "tool")
        other.close()

    def test_masks_stay_on_their_frames(self) -> None:
        """Check that browsing does not copy a mask to another frame."""
        browser = self.logic.loadVideo(a_video())
        tool = self.logic.addObject("tool")
        self.logic.setMask(tool, square(10), frame=2)
        for frame in (0, 2, 1, 5, 2, 3):
            browser.SetSelectedItemNumber(frame)
        masks = open_mask_nodes(browser)
        self.assertEqual([masks.mask(k, tool).any() for k in range(4)], [False, False, True, False])

    def test_refusals_change_nothing(self) -> None:
        """Check that wrong input is refused and leaves the scene as it was."""
        with self.assertRaises(InputError):
            self.logic.track()
        self.logic.loadVideo(a_video())
        tool = self.logic.addObject("tool")
        with self.assertRaises(PromptError):
            self.logic.addPoint(tool, WIDTH + 5, 3, frame=0)
        with self.assertRaises(PromptError):
            self.logic.track()
        self.assertEqual(len(self.logic.currentSession.prompts), 0)

    def test_tracking(self) -> None:
        """Check that the engine starts, tracks a square and can be cancelled."""
        missing = [package.name for package in missingPackages()]
        if missing:
            self.delayDisplay(f"Tracking is not tested: {', '.join(missing)} missing")
            return
        self.logic.loadVideo(a_video())
        tool = self.logic.addObject("tool")
        self.logic.setModel("demo", device="cpu")
        self.logic.setMask(tool, square(10), frame=0)
        job = self.logic.track(wait=True)
        self.assertEqual((job.status, job.done), ("complete", FRAMES))
        self.assertTrue(np.array_equal(self.logic.getMask(tool, 0), square(10)))
        self.logic.track()
        self.logic.cancel()
        self.assertTrue(self.logic.wait(10))


def square(left: int) -> np.ndarray:
    """Return a mask with a square, (H, W) bool."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:44, left : left + 24] = True
    return mask


def a_video() -> ArrayVideo:
    """Return a video of a bright square that moves two pixels to the right per frame."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 60, np.uint8)
    for k, frame in enumerate(frames):
        frame[square(10 + 2 * k)] = (240, 220, 80)
    return ArrayVideo(frames, fps=25.0)
