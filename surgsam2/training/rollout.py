"""The forward pass over clips, frame by frame, with gradients through the memories.

It does what the tracker does, except that every memory is attended (pruning is for inference
only), memories keep their precision, and all objects of all clips of a batch run together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from surgsam2.model.frame_data import Decoded, ImageFeatures, MemoryBatch
from surgsam2.model.mask_motion import MaskMotion
from surgsam2.model.network import SurgSAM2Network
from surgsam2.model.pruning import EFP
from surgsam2.model.target_model import followed, joined
from surgsam2.training.config import PromptConfig, RolloutConfig
from surgsam2.training.disturbance import Disturbance
from surgsam2.training.prompting import Clicks, PromptPlan, corrections, first_clicks

_EVERY_MEMORY = EFP(form="off")
_LOGIT_LIMIT = 32.0
"""Largest absolute logit of a mask that is given back as a prompt, as in SAM."""


@dataclass(frozen=True)
class ClipBatch:
    """A batch of B clips of T frames with O objects in all."""

    images: torch.Tensor
    """(T, B, 3, S, S) float32, normalised."""
    masks: torch.Tensor
    """(T, O, S, S) bool truth."""
    clip_of: torch.Tensor
    """(O,) int64: the index of the clip that an object belongs to."""
    names: tuple[str, ...] = ()
    """What each clip was drawn from, for messages."""

    @property
    def frames(self) -> int:
        """Number of frames of each clip."""
        return len(self.images)

    def to(self, device: torch.device) -> ClipBatch:
        """Return a copy on `device`."""
        return ClipBatch(
            self.images.to(device, non_blocking=True),
            self.masks.to(device, non_blocking=True),
            self.clip_of.to(device, non_blocking=True),
            self.names,
        )


@dataclass(frozen=True)
class Step:
    """One output of the mask decoder for O objects; a corrected frame has several."""

    frame: int
    masks: torch.Tensor
    """(O, M, S/4, S/4) logits of the candidate masks, not blanked by the presence head."""
    ious: torch.Tensor
    """(O, M) estimated IoU of each candidate."""
    presence_logits: torch.Tensor
    """(O, 1)."""


@dataclass
class _Memories:
    """What O objects remember of the frames so far, by frame index.

    `prompted` and `tracked` hold the (O, Cm, h, w) spatial memories and the (O, C) pointers.
    """

    pointer_limit: int
    """Largest age, in frames, of the pointers of tracked frames that are attended."""
    prompted: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    tracked: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    prompted_targets: dict[int, torch.Tensor] = field(default_factory=dict)
    """The target model's normal equations of prompted frames, (O, N, N + 1)."""
    tracked_target: torch.Tensor | None = None
    """Running mean of the normal equations of the tracked frames so far, (O, N, N + 1)."""

    def learn_target(
        self, network: SurgSAM2Network, frame: int, features: ImageFeatures, found: Decoded
    ) -> None:
        """Learn a frame's equations of the target model, if the network has one.

        A prompted frame always counts, and a tracked one as much as `TargetModel.rate` says.

        Args:
            network: the network.
            frame: index of the frame; it is prompted if its memory is among `prompted`.
            features: of the frame, one row per object.
            found: the masks of the O objects.
        """
        learned = network.learned_targets(features, found)
        if learned is None:
            return
        if frame in self.prompted:
            self.prompted_targets[frame] = learned[0]
        else:
            first = self.prompted_targets[min(self.prompted_targets)]
            self.tracked_target = followed(first, self.tracked_target, *learned)

    def seen_from(self, frame: int, network: SurgSAM2Network) -> MemoryBatch:
        """Return what `frame` attends to in SAM 2's order: prompted frames first."""
        prompted = sorted(self.prompted.items())
        ages = {frame - t: memory for t, memory in self.tracked.items() if t < frame}
        recent = [a for a in sorted(ages, reverse=True) if a < network.num_maskmem]
        maps = [m for _, (m, _) in prompted] + [ages[a][0] for a in recent]
        map_ages = [0] * len(prompted) + recent
        signed = network.use_signed_tpos_enc_to_obj_ptrs
        pointers = [p for _, (_, p) in prompted]
        pointer_ages = [float(frame - t if signed else abs(frame - t)) for t, _ in prompted]
        for age in sorted(a for a in ages if a <= self.pointer_limit):
            pointers.append(ages[age][1])
            pointer_ages.append(float(age))
        device, batch = maps[0].device, len(maps[0])
        behind = [frame - t if t < frame else math.inf for t, _ in prompted]
        anchor = min(range(len(behind)), key=lambda k: behind[k])
        behind += recent
        nearest = min(range(len(behind)), key=lambda k: behind[k])
        target = None
        if targets := [equations for _, equations in sorted(self.prompted_targets.items())]:
            target = joined(targets, targets[0], self.tracked_target)
        return MemoryBatch(
            maps=torch.stack(maps, dim=1),
            map_ages=torch.tensor(map_ages, device=device).expand(batch, -1),
            pointers=torch.stack(pointers, dim=1),
            pointer_ages=torch.tensor(pointer_ages, device=device).expand(batch, -1),
            previous=maps[nearest][:, network.mem_dim :],
            anchor=maps[anchor][:, network.mem_dim :],
            target=target,
        )


class Rollout:
    """The forward pass of training.

    Args:
        network: may be in training or evaluation mode.
        prompts: how correction clicks and boxes are drawn.
        config: which frames are learned from, and how pointers are aged.
    """

    def __init__(
        self,
        network: SurgSAM2Network,
        prompts: PromptConfig,
        config: RolloutConfig | None = None,
    ) -> None:
        self._network = network
        self._prompts = prompts
        self._config = config or RolloutConfig()
        self.memory_std: torch.Tensor | None = None
        """Standard deviation of the last clips' spatial memories, to be watched: in tens,
        memory attention is saturated and nothing is learned any more."""

    def __call__(self, clips: ClipBatch, plan: PromptPlan, rng: np.random.Generator) -> list[Step]:
        """Run the clips and return all outputs that are learned from.

        Frames prompted with masks give no output, because the mask is the output. As in
        SAM 2's training, prompted frames run first and every other frame attends to them; the
        others follow in order, those before the last `RolloutConfig.learned` without gradients
        and in some batches with wrong masks (`RolloutConfig.disturbed`).
        """
        network = self._network
        self.memory_std = None
        longest = int(network.max_obj_ptrs_in_encoder)
        pointer_limit = min(self._config.pointer_span or clips.frames, longest) - 1
        memories, steps = _Memories(pointer_limit), list[Step]()
        others = [t for t in range(clips.frames) if t not in plan.prompted]
        order = [*plan.prompted, *others]
        first = max(clips.frames - (self._config.learned or clips.frames), 0)
        learned = {*plan.prompted, *range(first, clips.frames)}
        features = _encode(network, clips, learned)
        disturbance = None
        if len(learned) < clips.frames and rng.random() < self._config.disturbed:
            disturbance = Disturbance(clips.masks.shape[1], rng)
        for frame in order:
            seen, truth = features[frame], clips.masks[frame]
            with nullcontext() if frame in learned else _without_gradients():
                is_disturbed = frame not in learned and frame not in plan.corrected
                if disturbance is not None and is_disturbed:
                    output, outputs = self._given_mask(seen, disturbance.of(truth)), list[Step]()
                    conditioned = None
                else:
                    output, conditioned, outputs = self._run(
                        frame, seen, truth, memories, plan, rng
                    )
                if frame != order[-1]:
                    clicked = frame in plan.prompted or frame in plan.corrected
                    memory_map = self._remember(seen, output, conditioned, from_clicks=clicked)
                    kept = memories.prompted if clicked else memories.tracked
                    kept[frame] = (memory_map, output.pointers)
                    memories.learn_target(network, frame, seen, output)
                    encoded = memory_map[:, : self._network.mem_dim]
                    self.memory_std = encoded.detach().float().std()
            if frame in learned:
                steps += outputs
        return steps

    def _run(
        self,
        frame: int,
        features: ImageFeatures,
        truth: torch.Tensor,
        memories: _Memories,
        plan: PromptPlan,
        rng: np.random.Generator,
    ) -> tuple[Decoded, torch.Tensor | None, list[Step]]:
        """Return what is remembered of a frame, and every output of the mask decoder for it.

        Between them stands what the frame's features were conditioned to; None for a given mask.
        """
        network, clicks = self._network, None
        if frame not in plan.prompted:
            memory, limit = memories.seen_from(frame, network), memories.pointer_limit
            conditioned = network.attend(features, memory, _EVERY_MEMORY, limit)
        elif plan.kind == "mask":
            return self._given_mask(features, truth), None, []
        else:
            conditioned = network.without_memory(features)
            clicks = first_clicks(truth, plan, self._prompts, rng)
        guess = None if frame in plan.prompted else network.guess(conditioned)
        output, step = self._decode(frame, features, conditioned, clicks, guess)
        if frame not in plan.corrected:
            return output, conditioned, [step]
        output, more = self._correct(frame, features, conditioned, clicks, output, truth, rng)
        return output, conditioned, [step, *more]

    def _given_mask(self, features: ImageFeatures, truth: torch.Tensor) -> Decoded:
        """Take the (O, S, S) bool masks as the prediction for a frame."""
        network = self._network
        raw = features.map_for(features.tokens.shape[1])
        given = truth[:, None].float()
        _, _, ious, low, high, pointers, presence = network._use_mask_as_output(
            raw, features.high_res or None, given
        )
        return Decoded(low, high, pointers, presence, ious[:, 0])

    def _decode(
        self,
        frame: int,
        features: ImageFeatures,
        conditioned: torch.Tensor,
        clicks: Clicks | None,
        previous: torch.Tensor | None = None,
    ) -> tuple[Decoded, Step]:
        """Run the mask decoder on a frame.

        Args:
            frame: index of the frame.
            features: of the frame, one row per object.
            conditioned: (O, C, h, w) conditioned maps.
            clicks: the clicks of a prompted or corrected frame; None without a prompt.
            previous: (O, 1, S/4, S/4) mask logits that the clicks correct.

        Returns:
            What the next frames see of this one, and what is learned from.
        """
        network = self._network
        points = None
        if clicks is not None:
            points = {"point_coords": clicks.points, "point_labels": clicks.labels}
        with _decoder_output(network) as decoder:
            heads = network._forward_sam_heads(
                backbone_features=conditioned[:, : network.hidden_dim],
                point_inputs=points,
                mask_inputs=previous,
                high_res_features=features.high_res or None,
                multimask_output=network._use_multimask(clicks is not None, points),
            )
        masks, ious, _, presence = decoder[0]
        _, _, _, low, high, pointers, _ = heads
        # The decoder learns from its own masks, and the next frames see the combined ones.
        found = Decoded(low, high, pointers, presence, ious.amax(dim=1))
        output = network.with_motion_and_target(found, conditioned)
        return output, Step(frame, masks, ious, presence)

    def _correct(
        self,
        frame: int,
        features: ImageFeatures,
        conditioned: torch.Tensor,
        clicks: Clicks | None,
        output: Decoded,
        truth: torch.Tensor,
        rng: np.random.Generator,
    ) -> tuple[Decoded, list[Step]]:
        """Correct the masks of a frame by clicks, one after the other.

        Args:
            frame: index of the frame.
            features: of the frame, one row per object.
            conditioned: (O, C, h, w) conditioned maps.
            clicks: the clicks so far.
            output: the masks to correct.
            truth: (O, S, S) bool masks.
            rng: decides the clicks.

        Returns:
            The last masks, and an output for every correction.
        """
        steps = []
        for _ in range(self._prompts.corrections):
            new = corrections(truth, output.high_res.detach()[:, 0] > 0, self._prompts, rng)
            clicks = new if clicks is None else clicks.and_then(new)
            # The last mask is an input here; the loss has counted it as an output already.
            previous = output.low_res.detach().clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
            output, step = self._decode(frame, features, conditioned, clicks, previous)
            steps.append(step)
        return output, steps

    def _remember(
        self,
        features: ImageFeatures,
        output: Decoded,
        conditioned: torch.Tensor | None,
        *,
        from_clicks: bool,
    ) -> torch.Tensor:
        """Encode the masks of a frame into (O, Cm, h, w) spatial memories, with gradients."""
        network = self._network
        maps, _ = network._encode_new_memory(
            [features.tokens],
            [features.size],
            output.high_res,
            output.presence_logits,
            is_mask_from_pts=from_clicks,
        )
        if from_clicks:
            carried = None
        elif conditioned is None:  # a wrong mask is not corrected by motion
            carried = MaskMotion.nothing(output.low_res)
        else:
            carried = network.carried(conditioned)
        return network.with_motion_memory(maps, features, output, carried)


def _encode(
    network: SurgSAM2Network, clips: ClipBatch, learned: Collection[int]
) -> dict[int, ImageFeatures]:
    """Encode every frame, one row per object; those in `learned` with gradients."""
    others = [t for t in range(clips.frames) if t not in learned]
    features = _encode_together(network, clips, sorted(learned))
    with _without_gradients():
        for frame in others:
            features |= _encode_together(network, clips, [frame])
    return features


def _encode_together(
    network: SurgSAM2Network, clips: ClipBatch, frames: list[int]
) -> dict[int, ImageFeatures]:
    """Encode some frames together, one row per object: (P, O, C) tokens and so on."""
    batch = clips.images.shape[1]
    whole = network.encode_image(clips.images[frames].flatten(0, 1))
    per_frame = {}
    for place, frame in enumerate(frames):
        rows = clips.clip_of + place * batch
        per_frame[frame] = ImageFeatures(
            whole.tokens[:, rows],
            whole.position[:, rows],
            [x[rows] for x in whole.high_res],
            whole.size,
            *(None if x is None else x[rows] for x in (whole.picture, whole.target_inputs)),
        )
    return per_frame


@contextmanager
def _without_gradients() -> Iterator[None]:
    """Disable gradients inside the context without an effect on what comes after it."""
    with torch.no_grad():
        yield
    # Older PyTorch would reuse the copies of weights that were cast here (pytorch issue 112583).
    torch.clear_autocast_cache()


@contextmanager
def _decoder_output(network: SurgSAM2Network) -> Iterator[list[Any]]:
    """Collect what the mask decoder returns, before sam2 blanks masks without an object."""
    outputs: list[Any] = []
    hook = network.sam_mask_decoder.register_forward_hook(
        lambda module, inputs, output: outputs.append(output)
    )
    try:
        yield outputs
    finally:
        hook.remove()
