"""Example of tracking with exported graphs, onnxruntime, numpy and Pillow.

It tracks forward, with any number of objects and of prompted frames per object. See
docs/export.md.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

Arrays = dict[str, np.ndarray]


@dataclass
class Memory:
    """Memories of one object, as (frame, array) pairs."""

    prompted_maps: list[tuple[int, np.ndarray]] = field(default_factory=list)
    prompted_pointers: list[tuple[int, np.ndarray]] = field(default_factory=list)
    maps: deque[tuple[int, np.ndarray]] = field(default_factory=deque)
    pointers: deque[tuple[int, np.ndarray]] = field(default_factory=deque)


class OnnxTracker:
    """Tracker that segments frame after frame.

    Args:
        folder: Folder that `surgsam2 export` wrote.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
    """

    def __init__(self, folder: Path, width: int, height: int) -> None:
        description = json.loads((folder / "export.json").read_text())
        self.settings = description["memory"]
        self.side = description["preprocessing"]["resize"][0]
        self.graphs = {
            graph["file"].removesuffix(".onnx"): onnxruntime.InferenceSession(
                folder / graph["file"], providers=["CPUExecutionProvider"]
            )
            for graph in description["graphs"]
        }
        self.size = (width, height)
        self.frame = 0
        self.memories: dict[int, Memory] = {}

    def step(self, frame: np.ndarray, prompts: dict[int, Arrays]) -> dict[int, np.ndarray]:
        """Segment the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            prompts: Object id -> `points` (P, 2) in pixels of the frame and `labels` (P,) as
                in the description of points_decoder, or `mask` (H, W) bool.

        Returns:
            Object id -> (H, W) bool mask.
        """
        square = np.asarray(Image.fromarray(frame).resize((self.side, self.side)))
        image = self._run("image_encoder", {"image": square[None]})
        decoded = {i: self._prompted(image, prompt) for i, prompt in prompts.items()}
        decoded |= {
            i: self._tracked(image, m) for i, m in self.memories.items() if i not in prompts
        }
        if decoded:
            self._remember(image, decoded, list(prompts))
        self.frame += 1
        masks = {i: self._enlarged(item["low_res"][0, 0]) > 0 for i, item in decoded.items()}
        # A mask that the user gave is the result on its frame.
        return masks | {i: given["mask"] for i, given in prompts.items() if "mask" in given}

    def _prompted(self, image: Arrays, prompt: Arrays) -> Arrays:
        if "mask" in prompt:
            whole = Image.fromarray(prompt["mask"].astype(np.float32))
            square = whole.resize((self.side, self.side), Image.Resampling.BILINEAR)
            mask = (np.asarray(square) >= 0.5).astype(np.float32)
            return self._run("mask_prompt_decoder", {**image, "mask": mask[None, None]})
        points = prompt["points"] * self.side / np.array(self.size)
        labels = prompt["labels"].astype(np.int32)
        graph = "click_decoder" if len(labels) == 1 else "points_decoder"
        given = {"points": points.astype(np.float32)[None], "labels": labels[None]}
        return self._run(graph, {**image, **given})

    def _tracked(self, image: Arrays, memory: Memory) -> Arrays:
        aged = [(0, m) for _, m in memory.prompted_maps]
        aged += [(self.frame - t, m) for t, m in memory.maps if self._is_recent(t, "num_maskmem")]
        aged = self._pruned(aged)
        pointers = [(self.frame - t, p) for t, p in memory.prompted_pointers]
        pointers += [
            (self.frame - t, p)
            for t, p in reversed(memory.pointers)
            if self._is_recent(t, "max_pointers")
        ]
        times = np.array([age for age, _ in pointers], np.float32)
        given = {
            "memory_maps": np.stack([m for _, m in aged])[None],
            "map_ages": np.array([[age for age, _ in aged]]),
            "pointers": np.stack([p for _, p in pointers])[None],
            "pointer_times": times[None] / np.float32(self.settings["pointer_time_unit"]),
            "anchor_map": memory.prompted_maps[-1][1][None],
        }
        conditioned = self._run("memory_attention", {**image, **given})
        return self._run("mask_decoder", {**image, **conditioned}) | conditioned

    def _is_recent(self, frame: int, limit: str) -> bool:
        return self.frame - frame < self.settings[limit]

    def _pruned(self, aged: list[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
        """Prune memories that resemble the last one (Efficient Frame Pruning, form `capped`)."""
        keep = self.settings["num_maskmem"] - self.settings["pruning"]["prune"]
        if len(aged) <= keep:
            return aged
        maps = np.stack([m for _, m in aged])
        unit = maps / np.linalg.norm(maps, axis=1, keepdims=True)
        similarity = (unit * unit[-1]).sum(axis=(1, 2, 3))
        inner = sorted(range(1, len(aged) - 1), key=lambda i: (similarity[i], -i))
        return [aged[i] for i in sorted([0, len(aged) - 1, *inner[: keep - 2]])]

    def _remember(self, image: Arrays, decoded: dict[int, Arrays], prompted: list[int]) -> None:
        given = {
            name: np.concatenate([item[name] for item in decoded.values()])
            for name in ("low_res", "presence")
        }
        given["prompted"] = np.array([i in prompted for i in decoded])
        channels = self.settings["conditioned_channels"]
        none = np.zeros((1, channels, *image["features"].shape[2:]), np.float32)
        conditioned = [item.get("conditioned", none) for item in decoded.values()]
        given["conditioned"] = np.concatenate(conditioned)
        maps = self._run("memory_encoder", {**image, **given})["memory_map"]
        for (i, item), memory_map in zip(decoded.items(), maps, strict=True):
            memory = self.memories.setdefault(i, Memory())
            now = (self.frame, item["pointer"][0])
            if i in prompted:
                memory.prompted_maps.append((self.frame, memory_map))
                memory.prompted_pointers.append(now)
                continue
            memory.maps.append((self.frame, memory_map))
            memory.pointers.append(now)
            if len(memory.maps) == self.settings["num_maskmem"]:
                memory.maps.popleft()
            if len(memory.pointers) == self.settings["max_pointers"]:
                memory.pointers.popleft()

    def _enlarged(self, logits: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(logits).resize(self.size, Image.Resampling.BILINEAR))

    def _run(self, name: str, given: dict[str, Any]) -> Arrays:
        """Run a graph with those of the given tensors that it takes; return its outputs by name."""
        graph = self.graphs[name]
        inputs = {tensor.name: given[tensor.name] for tensor in graph.get_inputs()}
        names = [tensor.name for tensor in graph.get_outputs()]
        return dict(zip(names, graph.run(names, inputs), strict=True))
