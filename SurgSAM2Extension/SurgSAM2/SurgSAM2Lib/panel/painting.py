"""Painting masks in the panel, with the effects of Slicer's module Segment Editor."""

from __future__ import annotations

from typing import Any

import slicer

from SurgSAM2Lib.panel.context import PanelContext

EFFECTS = ["Paint", "Erase", "Scissors", "Threshold"]
"""Names of the effects that the panel offers, in this order."""
NODE_TAG = "SurgSAM2"
"""Singleton tag of the node with the settings of the effects."""


class Painting:
    """The widget of Segment Editor, which follows the selected object while it is shown.

    Args:
        context: what the panel's sections share.
        frame: the ``QFrame`` to show it in.
    """

    def __init__(self, context: PanelContext, frame: Any) -> None:
        self._context, self._frame = context, frame
        self._editor: Any = None
        frame.hide()

    @property
    def shown(self) -> bool:
        """Whether the effects are shown."""
        return not self._frame.isHidden()

    def show(self, on: bool) -> None:
        """Show the effects, or hide them and end the one in use."""
        session = self._context.logic.session
        if on and session is not None:
            self._frame.setVisible(True)
            self._use_editor()
            self.follow()
            self._editor.setActiveEffectByName(EFFECTS[0])
        elif self.shown:
            self._frame.setVisible(False)
            if self._editor is not None:
                self._editor.setActiveEffectByName("")
                self._editor.uninstallKeyboardShortcuts()
                self._editor.removeViewObservations()

    def follow(self) -> None:
        """Paint on the selected object of the video in use from now on."""
        session, selected = self._context.logic.session, self._context.selected
        if not self.shown or self._editor is None:
            return
        if session is None or not selected or selected in session.locks:
            self.show(False)
            return
        if self._editor.segmentationNode() is not session.masks.proxy:
            self._editor.setSegmentationNode(session.masks.proxy)
            self._editor.setSourceVolumeNode(session.video.volume)
        segment = session.objects.segment_id(selected)
        if self._editor.currentSegmentID() != segment:
            self._editor.setCurrentSegmentID(segment)

    def forget(self) -> None:
        """Leave the scene alone; before it is closed and before the module is reloaded."""
        self.show(False)
        if self._editor is not None:
            self._editor.setSegmentationNode(None)

    def _use_editor(self) -> None:
        """Make the widget when it is first needed, and give it the node with its settings."""
        if self._editor is None:
            editor = slicer.qMRMLSegmentEditorWidget()
            editor.setSegmentationNodeSelectorVisible(False)
            editor.setSourceVolumeNodeSelectorVisible(False)
            editor.setSwitchToSegmentationsButtonVisible(False)
            editor.setAddRemoveSegmentButtonsVisible(False)
            editor.setShow3DButtonVisible(False)
            editor.setEffectNameOrder(EFFECTS)
            editor.setUnorderedEffectsVisible(False)
            self._frame.layout().insertWidget(0, editor)
            self._editor = editor
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(NODE_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag(NODE_TAG)
            node.SetOverwriteMode(node.OverwriteNone)  # objects may overlap while one is painted
            node.SaveWithSceneOff()
            node = scene.AddNode(node)
        self._editor.setMRMLSegmentEditorNode(node)
        self._editor.setMRMLScene(scene)
        self._editor.installKeyboardShortcuts()
