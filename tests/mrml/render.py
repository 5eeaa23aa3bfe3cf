"""Pictures of Slicer's Red view, made offscreen by Slicer's own view code."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

MANAGERS = ("vtkMRMLSegmentationsDisplayableManager2D",)
"""What draws over the picture."""
MARKUPS_MANAGER = "vtkMRMLMarkupsDisplayableManager"
"""Add it to draw points and boxes too."""


def red_view(
    scene: Any,
    volume: Any,
    width: int,
    height: int,
    managers: tuple[str, ...] = MANAGERS,
) -> np.ndarray:
    """Render what the Red view shows of a volume that fills it, and of all segmentations.

    Args:
        scene: a scene with the segmentations to show. Views that it lacks are added.
        volume: the volume in the background.
        width: width of the view in pixels.
        height: height of the view in pixels.

    Returns:
        (height, width, 3) uint8 RGB, the first row on top, as on a screen.
    """
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    application = slicer.vtkMRMLApplicationLogic()
    application.SetMRMLScene(scene)
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(scene)
    view = scene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    if view is None:
        view = logic.AddSliceNode("Red")
    else:
        logic.SetSliceNode(view)
    view.SetOrientation("Axial")
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    logic.ResizeSliceNode(width, height)
    logic.FitSliceToAll(width, height)
    logic.SnapSliceOffsetToIJK()

    renderer = vtk.vtkRenderer()
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(width, height)
    window.AddRenderer(renderer)
    interactor = vtk.vtkRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    renderer.AddViewProp(_background(logic))

    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(application)
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.SetRenderer(renderer)
    group.SetMRMLDisplayableNode(view)
    markups = _markups_logic(scene)  # the application does not keep it alive
    application.SetModuleLogic("Markups", markups)
    for name in managers:
        manager = getattr(slicer, name)()
        manager.SetMRMLApplicationLogic(application)
        group.AddDisplayableManager(manager)
    renderer.GetActiveCamera().ParallelProjectionOn()
    window.Render()
    return window_pixels(window)


def _markups_logic(scene: Any) -> Any:
    """It knows how each kind of markup is drawn; in Slicer, the Markups module tells it."""
    logic = slicer.vtkSlicerMarkupsLogic()
    logic.SetMRMLScene(scene)
    logic.RegisterMarkupsNode(slicer.vtkMRMLMarkupsFiducialNode(), slicer.vtkSlicerPointsWidget())
    logic.RegisterMarkupsNode(slicer.vtkMRMLMarkupsROINode(), slicer.vtkSlicerROIWidget())
    return logic


def _background(logic: Any) -> Any:
    mapper = vtk.vtkImageMapper()
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    mapper.SetInputConnection(logic.GetImageDataConnection())
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetDisplayLocationToBackground()
    return actor


def window_pixels(window: Any) -> np.ndarray:
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.SetInputBufferTypeToRGB()
    grab.ReadFrontBufferOff()
    grab.Update()
    image = grab.GetOutput()
    columns, rows, _ = image.GetDimensions()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3)
    return np.ascontiguousarray(values[::-1])  # VTK counts rows from below
