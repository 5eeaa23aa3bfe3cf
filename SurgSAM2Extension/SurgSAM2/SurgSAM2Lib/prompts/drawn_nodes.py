"""Markups nodes that a user draws in: they have the colour of their kind and are not saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from SurgSAM2Lib.prompts.kinds import COLORS


def make_node(scene: Any, class_name: str, name: str, kind: str) -> Any:
    """Add a markups node to a scene, which is not saved with it.

    Args:
        scene: the ``vtkMRMLScene``.
        class_name: class of the node, such as ``vtkMRMLMarkupsFiducialNode``.
        name: name of the node, for the user.
        kind: what is drawn in it, which gives the colour.
    """
    node = scene.AddNewNodeByClass(class_name, name)
    node.SetSaveWithScene(False)
    node.SetControlPointLabelFormat("")  # the colour alone tells the kinds apart
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetColor(*COLORS[kind])
    display.SetSelectedColor(*COLORS[kind])
    return node


def remove_nodes(scene: Any, nodes: dict[str, Any], observed: list[Callable[[], None]]) -> None:
    """Remove nodes from their scene, stop observing them, and empty both collections.

    Args:
        scene: the ``vtkMRMLScene``; nodes that have left it already are only forgotten.
        nodes: the nodes by kind.
        observed: the functions that end observing them, see `surgsam2.mrml.nodes.observe`.
    """
    for end in observed:
        end()
    observed.clear()
    for node in nodes.values():
        if node.GetScene() is scene:
            scene.RemoveNode(node)
    nodes.clear()
