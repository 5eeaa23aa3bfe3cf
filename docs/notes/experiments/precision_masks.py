"""Does bfloat16 change the masks? The built-in model in both precisions, beside the truth.

Both precisions start from the masks of the first frame, or from the prompts of a clip without
truth. A processor without bfloat16 computes it by conversions: slowly, with the same roundings of
operands and results (float32 sums). The figures are in docs/notes/bfloat16.md.

    python docs/notes/experiments/precision_masks.py FRAMES [VOS_FOLDER/SEQUENCE | VIDEO | SEED]...
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F

import surgsam2
from surgsam2 import EFP, PromptSet, Tracker
from surgsam2.data import VOSDataset, generate_clip
from surgsam2.evaluation.metrics import region_similarity
from surgsam2.model.cpu import matmul
from surgsam2.results.frame_result import FrameResult

Frames = Iterator[tuple[np.ndarray, np.ndarray | None]]
"""(H, W, 3) pictures and (H, W) labels, None where nobody drew them."""


def opened(name: str, frames: int) -> tuple[Frames, PromptSet | None]:
    """Open a source; its prompts are None where the first labels serve."""
    if name.isdigit():
        clip = generate_clip(int(name), frames=frames)
        return ((picture, labels) for _, picture, labels in clip.frames()), None
    path = Path(name)
    if path.is_file():
        video = surgsam2.open_video(path)
        prompts = surgsam2.load_prompts(path.with_name("cholecystectomy_prompts.json"))
        return ((picture, None) for _, picture in video.frames(0, frames)), prompts
    sequence = VOSDataset(path.parent, [path.name])[0]
    return (sequence.read(i) for i in range(min(frames, len(sequence)))), None


def prompts_of(labels: np.ndarray) -> PromptSet:
    """Prompt every object of the first frame by its mask."""
    prompts = PromptSet()
    for value in np.unique(labels[labels > 0]):
        prompts.add(object_id=int(value), frame=0, mask=labels == value)
    return prompts


def compare(name: str, frames: int) -> None:
    """Print IoU, J and pruning decisions of a source."""
    pictures, prompts = opened(name, frames)
    trackers: dict[str, Tracker] = {}
    kept: dict[str, list[list[int]]] = {"float32": [], "bfloat16": []}
    same: list[float] = []
    scores: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    select = EFP.select
    for index, (picture, labels) in enumerate(pictures):
        given = None
        if index == 0:
            height, width = picture.shape[:2]
            given = prompts_of(labels) if prompts is None and labels is not None else prompts
            for dtype in kept:
                model = surgsam2.load_model("demo", device="cpu", dtype=dtype)
                trackers[dtype] = Tracker(model, width, height)
        results: dict[str, FrameResult] = {}
        for dtype, tracker in trackers.items():

            def noted(efp, maps, *args, own=kept[dtype]):  # type: ignore[no-untyped-def]
                chosen = select(efp, maps, *args)
                if chosen.shape[1] < maps.shape[1]:
                    own += chosen.tolist()
                return chosen

            with mock.patch.object(EFP, "select", noted):
                results[dtype] = tracker.step(picture, given)
        if index == 0:
            continue
        for row, object_id in enumerate(results["float32"].object_ids):
            one, other = (result.masks[row] for result in results.values())
            if one.any() or other.any():
                same.append(region_similarity(one, other))
            if labels is not None:
                for dtype, mask in zip(scores, (one, other), strict=True):
                    scores[dtype].append(region_similarity(mask, labels == object_id))
    equal = [a == b for a, b in zip(*kept.values(), strict=True)]
    print(  # noqa: T201
        f"{Path(name).name}: {len(same)} masks, mean IoU {np.mean(same):.4f}, lowest "
        f"{min(same):.4f}; J {[f'{np.mean(j):.4f}' for j in scores.values() if j]}; pruning "
        f"{np.mean(equal) if equal else 1:.4f} of {len(equal)} equal",
        flush=True,
    )


def convert_where_needed() -> None:
    """Compute bfloat16 products as float32 ones where oneDNN refuses them."""
    if matmul.is_available(torch.bfloat16):
        return

    def multiply(x, weight, bias, activation, *_):  # type: ignore[no-untyped-def]
        bias = None if bias is None else bias.float()
        product = F.linear(x.float(), weight.float(), bias)
        if activation != "none":
            product = getattr(F, activation)(product)
        return product.to(x.dtype)

    torch.ops.mkldnn._linear_pointwise = multiply
    matmul.has_bfloat16_products = lambda: True


if __name__ == "__main__":
    convert_where_needed()
    for source in sys.argv[2:]:
        compare(source, int(sys.argv[1]))
