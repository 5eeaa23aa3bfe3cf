"""The training pass: the tracker's arithmetic, with gradients through time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import surgsam2
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.prompts import PromptSet
from surgsam2.tracking.options import TrackingOptions
from surgsam2.training.clip_cache import CachedClip
from surgsam2.training.config import PromptConfig, RolloutConfig, TrainConfig
from surgsam2.training.losses import SegmentationLoss
from surgsam2.training.prompting import Clicks, PromptPlan
from surgsam2.training.rollout import ClipBatch, Rollout
from surgsam2.training.start import start_network

from .conftest import SIZE, a_config


@pytest.fixture
def a_network(some_settings: dict[str, object]) -> SurgSAM2Network:
    network, _, _ = start_network(a_config(some_settings))
    return network


def test_equals_the_tracker(
    a_network: SurgSAM2Network,
    a_batch: ClipBatch,
    some_clips: list[CachedClip],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two clips in one batch give what the engine gives for each, but for its bfloat16."""
    at = [
        [[float(v) for v in torch.nonzero(m)[0].flip(0)]] for m in a_batch.masks[0]
    ]  # one pixel (x, y) of every object
    clicks = Clicks(torch.tensor(at), torch.ones(len(at), 1, dtype=torch.int32))
    monkeypatch.setattr("surgsam2.training.rollout.first_clicks", lambda *_: clicks)
    network = a_network.eval()
    with torch.no_grad():
        plan = PromptPlan("points", (0,), ())
        steps = Rollout(network, PromptConfig())(a_batch, plan, np.random.default_rng(0))
    assert [step.frame for step in steps] == [0, 1, 2]

    config = OmegaConf.create(load_config("demo"))
    model = SurgSAM2Model(
        "demo", network, config, torch.device("cpu"), torch.float32, surgsam2.EFP("off"), None
    )
    row = 0
    for clip in range(2):
        count = int((a_batch.clip_of == clip).sum())
        prompts = PromptSet()
        for k in range(count):
            x, y = at[row + k][0]
            prompts.add(object_id=k + 1, frame=0, points=[[x, y, 1]])
        options = TrackingOptions(allow_overlap=True)
        tracker = surgsam2.Tracker(model, SIZE, SIZE, frame_count=3, options=options)
        for t in range(3):
            outputs = tracker.advance(tracker.encoded(some_clips[clip].read_frame(t)), prompts)
            for k in range(count):
                step = steps[t]
                best = step.ious[row + k].argmax()
                mine = step.masks[row + k, best]
                theirs = outputs[k + 1].low_res[0, 0]
                if step.presence_logits[row + k] > 0:
                    assert (mine - theirs).abs().max() < 0.05 * theirs.abs().max()
        row += count


def test_gradients_go_through_the_memories(a_network: SurgSAM2Network, a_batch: ClipBatch) -> None:
    """The loss of the last frame alone moves what made the memory of the first."""
    network = a_network.train()
    plan = PromptPlan("mask", (0,), ())
    steps = Rollout(network, PromptConfig())(a_batch, plan, np.random.default_rng(0))
    steps[-1].masks.square().mean().backward()
    for name in (
        "memory_encoder.out_proj.weight",
        "memory_attention.layers.0.linear1.weight",
        "obj_ptr_proj.layers.0.weight",
        "maskmem_tpos_enc",
        "image_encoder.trunk.patch_embed.proj.weight",
        "sam_mask_decoder.iou_token.weight",
    ):
        gradient = network.get_parameter(name).grad
        assert gradient is not None, name
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("learned", [None, 1])
def test_frames_before_the_learned_ones_are_followed_without_gradients(
    a_network: SurgSAM2Network, a_batch: ClipBatch, learned: int | None
) -> None:
    """The last frame's masks are the same; what came between it and the prompt learns nothing."""
    network, rng = a_network.eval(), np.random.default_rng(0)
    plan = PromptPlan("mask", (0,), ())
    with torch.no_grad():
        whole = Rollout(network, PromptConfig())(a_batch, plan, rng)
    clips = replace(a_batch, images=a_batch.images.clone().requires_grad_())
    rollout = Rollout(network, PromptConfig(), RolloutConfig(learned=learned))
    steps = rollout(clips, plan, rng)
    assert [step.frame for step in steps] == ([1, 2] if learned is None else [2])
    torch.testing.assert_close(steps[-1].masks, whole[-1].masks, rtol=1e-3, atol=1e-3)
    steps[-1].masks.square().mean().backward()
    assert clips.images.grad is not None
    reached = clips.images.grad.flatten(1).any(dim=1)
    assert reached.tolist() == [True, learned is None, True]


def test_memories_of_followed_frames_may_be_wrong(
    a_network: SurgSAM2Network, a_batch: ClipBatch
) -> None:
    """The frame between the prompt and the last one is remembered with another mask."""
    network, plan = a_network.eval(), PromptPlan("mask", (0,), ())

    def last(disturbed: float, seed: int = 1) -> torch.Tensor:
        config = RolloutConfig(learned=1, disturbed=disturbed)
        with torch.no_grad():
            rollout = Rollout(network, PromptConfig(), config)
            (step,) = rollout(a_batch, plan, np.random.default_rng(seed))
        assert step.frame == 2
        return step.masks

    assert not torch.equal(last(0.0), last(1.0))
    assert torch.equal(last(1.0), last(1.0))
    assert not torch.equal(last(1.0), last(1.0, seed=2))


def test_followed_frames_leave_the_others_their_gradients_in_bfloat16(
    a_network: SurgSAM2Network, a_batch: ClipBatch
) -> None:
    """Autocast keeps the weights it has cast; those cast without gradients are not used again."""
    network, plan = a_network.train(), PromptPlan("mask", (0,), ())
    rollout = Rollout(network, PromptConfig(), RolloutConfig(learned=1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (step,) = rollout(a_batch, plan, np.random.default_rng(0))
    step.masks.float().square().mean().backward()
    for name in ("memory_attention.layers.0.linear1.weight", "obj_ptr_proj.layers.0.weight"):
        gradient = network.get_parameter(name).grad
        assert gradient is not None, name
        assert gradient.abs().max() > 0, name


def test_masks_are_learned_even_where_presence_says_no(
    a_network: SurgSAM2Network, a_batch: ClipBatch
) -> None:
    network = a_network.train()
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias -= 100
    plan = PromptPlan("mask", (0,), ())
    steps = Rollout(network, PromptConfig())(a_batch, plan, np.random.default_rng(0))
    assert all((step.presence_logits < 0).all() for step in steps)
    loss = SegmentationLoss(TrainConfig().loss)(steps, a_batch.masks)
    assert loss.terms["dice"] <= 2  # two tracked frames; blanked masks would cost hundreds
    loss.total.backward()
    weight = network.sam_mask_decoder.output_upscaling[0].weight
    assert weight.grad is not None
    assert weight.grad.abs().max() > 0


def test_what_gives_outputs(a_network: SurgSAM2Network, a_batch: ClipBatch) -> None:
    """Masks as prompts give none; corrected frames give one more per click."""
    rollout = Rollout(a_network, PromptConfig(corrections=2))

    def frames(plan: PromptPlan) -> list[int]:
        with torch.no_grad():
            steps = rollout(a_batch, plan, np.random.default_rng(0))
        return [step.frame for step in steps]

    assert frames(PromptPlan("mask", (0,), ())) == [1, 2]
    assert frames(PromptPlan("mask", (0, 2), ())) == [1]
    assert frames(PromptPlan("points", (0,), ())) == [0, 1, 2]
    assert frames(PromptPlan("box", (0, 2), (0,))) == [0, 0, 0, 2, 1]
    assert frames(PromptPlan("points", (0,), (1,))) == [0, 1, 1, 1, 2]


@pytest.mark.parametrize(("most_points", "masks"), [(0, 1), (1, 3)])
def test_a_still_image(
    a_network: SurgSAM2Network, a_batch: ClipBatch, most_points: int, masks: int
) -> None:
    a_network.multimask_max_pt_num = most_points  # 0 in the demo, 1 in SAM 2
    image = replace(a_batch, images=a_batch.images[:1], masks=a_batch.masks[:1])
    plan = PromptPlan("points", (0,), (0,))
    steps = Rollout(a_network, PromptConfig(corrections=1))(image, plan, np.random.default_rng(0))
    assert [tuple(step.masks.shape[1:]) for step in steps] == [
        (masks, SIZE // 4, SIZE // 4),  # one click is ambiguous, two are not
        (1, SIZE // 4, SIZE // 4),
    ]
