"""Prompts in the scene: two text nodes hold the prompt file and its mask images.

The nodes belong to the video's sequence browser, which refers to them, so they are saved
and reopened with the scene, and stay with their video when scenes are merged.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.errors import PromptError
from surgsam2.prompts import PromptSet, VideoShape, load_prompts
from surgsam2.prompts.file import prompts_as_text
from surgsam2.prompts.mask_file import mask_png
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.temporary import TemporaryFolder

PROMPTS_ROLE = "SurgSAM2.prompts"
"""Role of the browser's reference to the text node with the prompt file (JSON)."""
MASKS_ROLE = "SurgSAM2.promptMasks"
"""Role of the reference to the text node with the mask images: JSON of PNG in base64."""
_STEM = "prompts"


class PromptNodes:
    """The two text nodes of one video, which are made when they are first needed.

    Args:
        browser: the video's ``vtkMRMLSequenceBrowserNode``.
    """

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._encoded: dict[str, tuple[np.ndarray, str]] = {}

    @property
    def name(self) -> str:
        """Name of the text node with the prompts; empty when there is none."""
        node = self._browser.GetNodeReference(PROMPTS_ROLE)
        return "" if node is None else str(node.GetName())

    def save(self, prompts: PromptSet, video: VideoShape) -> None:
        """Write prompts and their masks into the nodes."""
        text, masks = prompts_as_text(prompts, _STEM, video)
        self._encoded = {name: self._encode(name, mask) for name, mask in masks.items()}
        images = {name: image for name, (_, image) in self._encoded.items()}
        self._write(PROMPTS_ROLE, "prompts", text)
        self._write(MASKS_ROLE, "prompt masks", json.dumps(images))

    def load(self) -> PromptSet | None:
        """Return the prompts in the nodes; None when the video has none.

        Raises:
            PromptError: the text is no prompt file any more.
        """
        node = self._browser.GetNodeReference(PROMPTS_ROLE)
        if node is None:
            return None
        with TemporaryFolder() as folder:
            path = folder / f"{_STEM}.json"
            path.write_text(node.GetText() or "", encoding="utf-8")
            for name, data in self._images().items():
                (path.parent / Path(name).name).write_bytes(data)
            try:
                return load_prompts(path)
            except PromptError as error:
                text = str(error).replace(f"{path}: ", "")
                raise PromptError(f"the prompts saved in this scene: {text}") from error

    def _images(self) -> dict[str, bytes]:
        node = self._browser.GetNodeReference(MASKS_ROLE)
        try:
            images = parse_json(node.GetText()) if node is not None else {}
            return {name: base64.b64decode(data) for name, data in images.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise PromptError(
                f"the prompt masks saved in this scene are damaged: {error}"
            ) from error

    def _encode(self, name: str, mask: np.ndarray) -> tuple[np.ndarray, str]:
        """Return a mask and its PNG in base64, which is kept for the next saving."""
        known = self._encoded.get(name)
        if known is not None and known[0] is mask:
            return known
        return mask, base64.b64encode(mask_png(mask)).decode("ascii")

    def _write(self, role: str, what: str, text: str) -> None:
        node = self._browser.GetNodeReference(role)
        if node is None:
            name = f"{self._browser.GetName()} {what}"
            node = self._browser.GetScene().AddNewNodeByClass("vtkMRMLTextNode", name)
            self._browser.SetNodeReferenceID(role, node.GetID())
        node.SetText(text)
