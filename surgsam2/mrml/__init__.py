"""3D Slicer's data: videos as sequences, results as segments, markups as prompts.

Works on any ``vtkMRMLScene``: the application's own, or one made by a script with the
``slicer-core`` package. It is the only package that imports ``slicer`` and ``vtk``; it does
not import torch.

    nodes = load_video(scene, surgsam2.open_video("operation.mp4"), stop=250)
    masks = MaskNodes.create(scene, nodes)
    masks.add_object(1, "gallbladder", "#e8c468")
    masks.write(0, {1: mask})              # (H, W) bool
    save_scene(scene, "operation.mrb")

A frame is item k of the video's sequence, from 0, whatever range and stride it was loaded
with. Pixels are (x, y), x right and y down in the frame's own array, the centre of the
top-left pixel at (0, 0).

Videos that do not fit in memory: `surgsam2.mrml.streaming`.
"""

from __future__ import annotations

from surgsam2.mrml.loading import load_video, memory_needed
from surgsam2.mrml.markups import add_points, box_of, placed_points, points_of, set_box
from surgsam2.mrml.mask_nodes import MaskNodes
from surgsam2.mrml.opening import open_mask_nodes, open_video_nodes
from surgsam2.mrml.review import ReviewNodes
from surgsam2.mrml.scene_file import load_scene, save_scene
from surgsam2.mrml.styles import ObjectStyle
from surgsam2.mrml.video_nodes import VideoNodes

__all__ = [
    "MaskNodes",
    "ObjectStyle",
    "ReviewNodes",
    "VideoNodes",
    "add_points",
    "box_of",
    "load_scene",
    "load_video",
    "memory_needed",
    "open_mask_nodes",
    "open_video_nodes",
    "placed_points",
    "points_of",
    "save_scene",
    "set_box",
]
