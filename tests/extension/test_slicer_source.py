"""The panel on Slicer's own Python files, and what the stand-in for them must do alike."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

import surgsam2
from surgsam2.mrml import load_video
from tests.extension.test_widget import panel  # noqa: F401 - a fixture
from tests.slicer_host.host import SlicerHost
from tests.slicer_host.source_tree import NAMES, VARIABLE, source_tree


@pytest.mark.skipif(source_tree() is None, reason=f"{VARIABLE} names no source tree of Slicer")
def test_the_panel_runs_on_the_named_source_tree(panel: Any) -> None:
    tree = source_tree()
    assert tree is not None
    for name in NAMES:
        assert tree.resolve() in Path(sys.modules[f"slicer.{name}"].__file__ or "").parents
    assert type(panel).__mro__[1].__module__ == "slicer.ScriptedLoadableModule"


def test_every_node_type_of_the_settings_can_be_made(panel: Any) -> None:
    """Slicer asks an instance for its class name, so an abstract class stops the panel."""
    parameters = panel.context.parameters
    for name in ("video", "liveVolume"):
        assert issubclass(parameters.dataType(name), slicer.vtkMRMLNode)
        parameters.dataType(name)().GetClassName()


def test_the_settings_derive_from_the_options(panel: Any) -> None:
    from SurgSAM2Lib.logic.option_names import options_of

    from surgsam2.model.options import ModelOptions
    from surgsam2.tracking.options import TrackingOptions

    assert options_of(panel.context.parameters, ModelOptions) == ModelOptions()
    assert options_of(panel.context.parameters, TrackingOptions) == TrackingOptions()
    panel.context.parameters.pruning = type(panel.context.parameters.pruning)("full-bank")
    panel.context.parameters.config = "sam2.1-hiera-small-1024"
    chosen = options_of(panel.context.parameters, ModelOptions)
    assert (chosen.pruning, chosen.config) == ("full-bank", "sam2.1-hiera-small-1024")
    with pytest.raises(ValueError, match="Nineteen"):
        panel.context.parameters.dtype = "Nineteen"


def test_a_reference_that_is_set_in_the_node_is_used(
    panel: Any, slicer_app: SlicerHost, pictures: np.ndarray
) -> None:
    """The wrapper keeps copies of the values, which may be renewed after the panel is told."""
    nodes = load_video(slicer.mrmlScene, surgsam2.open_video(pictures), name="clip")
    node = panel.context.parameters.parameterNode
    with slicer.util.NodeModify(node):  # one event
        node.SetNodeReferenceID("video", nodes.browser.GetID())
    slicer_app.process_events()
    assert panel.context.browser is nodes.browser


def test_no_observer_is_left_when_the_widgets_are_disconnected(slicer_app: SlicerHost) -> None:
    """Slicer 5.10 leaves one, and VTK would call it after the module was unloaded."""
    from SurgSAM2Lib.panel.parameter_binding import ParameterBinding

    class Parameters:
        """Behaves as the wrapper of Slicer 5.10."""

        def __init__(self) -> None:
            self.parameterNode = slicer.vtkMRMLScriptedModuleNode()
            self.calls = 0

        def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
            return self.parameterNode.AddObserver(event, callback, priority)

        def connectGui(self, gui: Any) -> int:
            self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._called())
            return 0

        def disconnectGui(self, tag: int) -> None:
            """Leave the observer, as Slicer 5.10 does."""

        def _called(self) -> None:
            self.calls += 1

    parameters = Parameters()
    binding = ParameterBinding(parameters, None)
    parameters.parameterNode.Modified()
    assert parameters.calls == 1
    binding.release()
    parameters.parameterNode.Modified()
    assert parameters.calls == 1


def test_the_layout_of_before_comes_back(
    panel: Any, slicer_app: SlicerHost, pictures: np.ndarray
) -> None:
    manager = slicer.app.layoutManager()
    four_up = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    manager.setLayout(four_up)
    panel.video.layout.use()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    slicer.util.selectModule("")
    assert manager.layout == four_up
