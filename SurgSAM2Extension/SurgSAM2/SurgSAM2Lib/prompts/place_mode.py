"""Slicer's place mode, in which clicks in a view place points of one markups node."""

from __future__ import annotations

from typing import Any


def start_placing(node: Any, persistent: bool) -> None:
    """Make the next clicks in a view place points of a markups node.

    Args:
        node: the markups node, which is in a scene.
        persistent: whether placing goes on until it is stopped. If not, it ends when the node has
            as many points as it needs.
    """
    interaction, selection = _singletons(node.GetScene())
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetActivePlaceNodeID(node.GetID())
    interaction.SetPlaceModePersistence(int(persistent))
    interaction.SetCurrentInteractionMode(interaction.Place)


def is_placing(node: Any) -> bool:
    """Return whether the next click in a view places a point of a node in a scene."""
    interaction, selection = _singletons(node.GetScene())
    return bool(
        interaction.GetCurrentInteractionMode() == interaction.Place
        and selection.GetActivePlaceNodeID() == node.GetID()
    )


def stop_placing(scene: Any) -> None:
    """End placing: clicks in a view move the picture again."""
    interaction, _selection = _singletons(scene)
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)


def _singletons(scene: Any) -> tuple[Any, Any]:
    return (
        scene.GetNodeByID("vtkMRMLInteractionNodeSingleton"),
        scene.GetNodeByID("vtkMRMLSelectionNodeSingleton"),
    )
