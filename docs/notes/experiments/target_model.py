"""What does a target model gain where frames lie far apart, and how many absences does it cost?

Each object of the first frame of a sequence is tracked from its true mask, once by the model as it
is and once with a linear classifier of the frame's own features, which is learned from the
object's frames in closed form and added to the mask decoder's logits as far as mask motion carried
nothing (as in FRTM, Robinson et al., CVPR 2020). How it is defined and what came of it is in
docs/notes/pretrained-trunk.md. For one thread, set OMP_NUM_THREADS=1:

    python docs/notes/experiments/target_model.py FOLDER [SEQUENCE ...] [--frames N] [--veto]

FOLDER has sequences in VOS layout, `JPEGImages/NAME` and `Annotations/NAME`.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import surgsam2
from surgsam2.data import Sequence, VOSDataset
from surgsam2.evaluation.metrics import region_similarity
from surgsam2.model.frame_data import Decoded, ImageFeatures
from surgsam2.prompts import Prompt
from surgsam2.tracking.encoded_frame import EncodedFrame
from surgsam2.tracking.memory import ConditioningMemory, MaskOutput, batched_views
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.tracker import Tracker

RIDGE = 1e-3  # weight of the squared coefficients; the pixels of each class weigh 1/2 together
RATE = 0.2  # weight of a credible frame in the running mean of such frames
TRACKED = 0.5  # weight of that mean beside the mean of the prompted frames
FEWEST = 2.0  # area in positions of stride 8 above which a mask is credible
CERTAIN = 10.0  # largest absolute logit of the mask decoder that the classifier is added to
WEIGHT = 2.0  # logit that is added where the classifier's value is 1
VETO_FACTOR, VETO_OFFSET = 2.0, 1.5  # of the logarithm of the share of the prompted area


def pixels(features: ImageFeatures) -> Tensor:
    """Return the features of each position of stride 8 as columns, (N, 4 h w), the last one 1.

    They are those that the mask decoder gets: the pretrained trunk's, projected by the neck.
    """
    fine, middle = features.high_res
    coarse = F.interpolate(features.map_for(1).float(), scale_factor=2, mode="bilinear")
    maps = [F.avg_pool2d(fine.float(), 2), middle.float(), coarse]
    rows = torch.cat(maps, dim=1)[0].flatten(1)
    return torch.cat([rows, torch.ones_like(rows[:1])])


def normal_equations(columns: Tensor, logits: Tensor) -> tuple[Tensor, float]:
    """Return the (N, N + 1) equations of one frame, and the mask's area in positions.

    `logits` are (1, 1, 4h, 4w); a position counts as inside by its probability.
    """
    inside = F.avg_pool2d(logits.float().sigmoid(), 2).flatten()
    outside = 1 - inside
    weight = inside / inside.sum().clamp(min=1) / 2 + outside / outside.sum().clamp(min=1) / 2
    products = (columns * weight) @ columns.T
    right = columns @ (weight * (inside - outside))
    return torch.cat([products, right[:, None]], dim=1), float(inside.sum())


class TargetModel:
    """What is known of one object, however long its video is."""

    def __init__(self) -> None:
        self._prompted: list[Tensor] = []
        self._tracked: Tensor | None = None
        self.prompted_share = 0.0
        """Share of the first prompted frame that the object's mask covers."""

    def prompt(self, columns: Tensor, logits: Tensor) -> None:
        """Learn from the mask of a prompted frame."""
        if not self._prompted:
            self.prompted_share = float((logits > 0).float().mean())
        self._prompted.append(normal_equations(columns, logits)[0])

    def follow(self, columns: Tensor, output: MaskOutput) -> None:
        """Learn from a tracked frame, if the object was found there."""
        equations, area = normal_equations(columns, output.low_res)
        if self._tracked is None:
            self._tracked = self._prompted[0]
        if area > FEWEST and output.scores[1] > 0.5:
            self._tracked = self._tracked.lerp(equations, RATE)

    def coefficients(self) -> Tensor:
        """Return the classifier that all frames together give, (N,)."""
        equations = torch.stack(self._prompted).mean(dim=0)
        if self._tracked is not None:
            equations = equations.lerp(self._tracked, TRACKED)
        damping = RIDGE * torch.eye(len(equations), device=equations.device)
        return torch.linalg.solve(equations[:, :-1] + damping, equations[:, -1])


class TargetTracker(Tracker):
    """A tracker with the built-in model, and a target model for each object."""

    veto = False
    """Whether objects of which the classifiers find too little count as absent."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._targets: dict[int, TargetModel] = {}

    def _prompted_memory(
        self, frame: EncodedFrame, index: int, object_id: int, prompt: Prompt
    ) -> ConditioningMemory:
        """Learn from a prompted frame."""
        memory = super()._prompted_memory(frame, index, object_id, prompt)
        with torch.autocast(self.model.device.type, enabled=False):
            target = self._targets.setdefault(object_id, TargetModel())
            target.prompt(pixels(frame.features()), memory.output.low_res)
        return memory

    def _track(
        self, frame: EncodedFrame, index: int, exclude: Collection[int]
    ) -> dict[int, MaskOutput]:
        """Track with what the target models say, and learn from the frame."""
        banks = {i: bank for i, bank in self._banks.items() if i not in exclude}
        batches = batched_views(banks, index, self._pointer_limit)
        targets = [self._targets[object_id] for ids, _ in batches for object_id in ids]
        network, columns = self.model.network, pixels(frame.features())
        decode_tracked = network.decode_tracked

        def decode(features: ImageFeatures, conditioned: Tensor) -> Decoded:
            carried = conditioned[:, network.hidden_dim :]
            decoded = decode_tracked(features, conditioned[:, : network.hidden_dim])
            with torch.autocast(carried.device.type, enabled=False):
                decoded = self._with_targets(decoded, carried, targets, columns)
            return network.with_carried_masks(decoded, carried)

        with mock.patch.object(network, "decode_tracked", decode):
            outputs = super()._track(frame, index, exclude)
        with torch.autocast(columns.device.type, enabled=False):
            for object_id, output in outputs.items():
                self._targets[object_id].follow(columns, output)
        return outputs

    def _with_targets(
        self, decoded: Decoded, carried: Tensor, targets: list[TargetModel], columns: Tensor
    ) -> Decoded:
        """Combine the mask decoder's logits, without mask motion's, with the classifiers'."""
        values = torch.stack([target.coefficients() for target in targets]) @ columns
        side = decoded.low_res.shape[-1]
        grid = values.view(len(targets), 1, side // 2, side // 2)
        values = F.interpolate(grid, size=(side, side), mode="bilinear")
        certain = carried[:, : carried.shape[1] // 2].float()
        apart = 1 - certain.amax(dim=(1, 2, 3), keepdim=True)
        if self.veto:
            prompted = torch.tensor([target.prompted_share for target in targets])
            share = (values > 0).float().mean(dim=(1, 2, 3)) / prompted.to(values.device)
            told = VETO_FACTOR * share.clamp(1e-4, 1).log() + VETO_OFFSET
            presence = decoded.presence_logits[:, 0] + apart.flatten() * told
            decoded = self.model.network.without_objects(decoded, presence <= 0)
        told = decoded.low_res.clamp(-CERTAIN, CERTAIN) + WEIGHT * apart * values
        present = decoded.presence_logits[..., None, None] > 0
        low_res = torch.where(present, told, decoded.low_res)
        high_res = F.interpolate(low_res, size=decoded.high_res.shape[-2:], mode="bilinear")
        return replace(decoded, low_res=low_res, high_res=high_res)


def figures(tracker: Tracker, sequence: Sequence, indices: tuple[int, ...]) -> str:
    """Track the objects of the first of some annotated frames, and return what is printed."""
    visible, absent, prompts = [], [], surgsam2.PromptSet()
    for index in indices:
        labels = sequence.read_labels(index)
        if index == indices[0]:
            for object_id in np.unique(labels[labels > 0]):
                prompts.add(object_id=int(object_id), frame=0, mask=labels == object_id)
        result = tracker.step(sequence.read_frame(index), prompts)
        for object_id, mask in zip(result.object_ids, result.masks, strict=True):
            truth = labels == object_id
            scores = visible if truth.any() else absent
            if index != indices[0]:
                scores.append((region_similarity(mask, truth), bool(mask.any())))
    lost = sum(not found for _, found in visible)
    noticed = sum(not found for _, found in absent)
    return (
        f"J where visible {np.mean([j for j, _ in visible]):.3f}, lost {lost} of {len(visible)}, "
        f"absences noticed {noticed} of {len(absent)}, "
        f"J of all frames {np.mean([j for j, _ in visible + absent]):.3f}"
    )


def main() -> None:
    """Print the figures of each sequence without and with the target model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="sequences in VOS layout")
    parser.add_argument("sequences", nargs="*", metavar="SEQUENCE", help="default: all")
    parser.add_argument("--frames", type=int, help="number of annotated frames; default: all")
    parser.add_argument("--veto", action="store_true", help="let the classifier deny presence")
    args = parser.parse_args()
    model = surgsam2.load_model("demo")
    options = TrackingOptions(allow_overlap=True)
    for sequence in VOSDataset(args.folder, args.sequences or None):
        indices = sequence.annotated[: args.frames]
        height, width = sequence.read_labels(indices[0]).shape
        plain = Tracker(model, width, height, options=options)
        own = TargetTracker(model, width, height, options=options)
        own.veto = args.veto
        for title, tracker in (("network alone", plain), ("with target model", own)):
            print(f"{sequence.name}, {title}: {figures(tracker, sequence, indices)}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
