"""Prompts: the points, boxes and masks that mark objects on frames, and their JSON file.

Coordinates are ``(x, y)`` in pixels of the original frame; the origin is the centre of
the top-left pixel, so a frame covers ``-0.5 <= x < width - 0.5``. Frames count from 0,
object ids go from 1 to 65535. A prompt that cannot be used raises `PromptError`, whose message
is one line.

    prompts = PromptSet()
    prompts.add(object_id=1, frame=0, points=[[640, 360, 1]], name="gallbladder")
    prompts.add(object_id=1, frame=90, box=[500, 300, 800, 520])
    save_prompts(prompts, "prompts.json")
"""

from __future__ import annotations

from surgsam2.prompts.checks import MAX_OBJECT_ID
from surgsam2.prompts.class_list import CLASS_LISTS, load_class_list
from surgsam2.prompts.file import load_prompts, naming_prompt_file, save_prompts
from surgsam2.prompts.object_class import ClassList, ObjectClass, instance_numbers
from surgsam2.prompts.prompt import Prompt, PromptedObject, VideoShape
from surgsam2.prompts.prompt_set import PromptSet
from surgsam2.prompts.strokes import mask_inside, points_along

__all__ = [
    "CLASS_LISTS",
    "MAX_OBJECT_ID",
    "ClassList",
    "ObjectClass",
    "Prompt",
    "PromptSet",
    "PromptedObject",
    "VideoShape",
    "instance_numbers",
    "load_class_list",
    "load_prompts",
    "mask_inside",
    "naming_prompt_file",
    "points_along",
    "save_prompts",
]
