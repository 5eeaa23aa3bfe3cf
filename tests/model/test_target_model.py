"""Objects are found by classifiers of the frame's own features, learned from their own frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor

from surgsam2 import EFP, PromptSet, Tracker
from surgsam2.errors import InputError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.frame_data import Decoded, ImageFeatures
from surgsam2.model.network import SurgSAM2Network
from surgsam2.model.target_model import TargetModel, followed, joined
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.video_tracking import copy_to_cpu
from tests.conftest import disc
from tests.model.helpers import sam2_modules

SIDE = 12
"""Side of the coarsest map."""
CHANNELS = 16


def a_target() -> TargetModel:
    return TargetModel(weight=4.0, min_iou=0.4, min_confidence=0.22)


def some_features(seed: int = 0, frames: int = 1) -> ImageFeatures:
    """Smooth random maps, as an image encoder gives them."""
    generator = torch.Generator().manual_seed(seed)

    def level(channels: int, side: int) -> torch.Tensor:
        noise = torch.randn(frames, channels, 6, 6, generator=generator)
        return F.interpolate(noise, size=(side, side), mode="bicubic")

    coarse = level(CHANNELS, SIDE)
    tokens = coarse.flatten(2).permute(2, 0, 1)
    finer = [level(CHANNELS // 8, 4 * SIDE), level(CHANNELS // 4, 2 * SIDE)]
    return ImageFeatures(tokens, torch.zeros_like(tokens), finer, (SIDE, SIDE))


def some_logits(*places: tuple[int, int, int]) -> torch.Tensor:
    """Logits of squares: (left, top, side) in pixels of the mask, one for each object."""
    logits = torch.full((len(places), 1, 4 * SIDE, 4 * SIDE), -8.0)
    for row, (left, top, side) in enumerate(places):
        logits[row, 0, top : top + side, left : left + side] = 8.0
    return logits


def decoded_as(logits: torch.Tensor, presence: float = 5.0, iou: float = 0.8) -> Decoded:
    count = len(logits)
    return Decoded(
        logits,
        F.interpolate(logits, scale_factor=4, mode="bilinear"),
        torch.zeros(count, CHANNELS),
        torch.full((count, 1), presence),
        torch.full((count,), iou),
    )


def reference_inputs(features: ImageFeatures) -> np.ndarray:
    """The classifier's inputs, (P, N) float64, position by position."""
    fine, middle = (level[0].double().numpy() for level in features.high_res)
    coarse = features.map_for(1)[0].double().numpy()
    detail = np.concatenate([in_squares(fine), middle])
    detail = detail - 0.5 * detail.mean(axis=(1, 2), keepdims=True)
    halved = in_squares(detail)
    around = np.empty_like(halved)
    for y in range(SIDE):
        for x in range(SIDE):
            near = halved[:, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            around[:, y, x] = near.mean(axis=(1, 2))
    smooth = np.concatenate([coarse, around])
    rows = []
    for y in range(2 * SIDE):
        for x in range(2 * SIDE):
            at = [min(max((place + 0.5) / 2 - 0.5, 0), SIDE - 1) for place in (y, x)]
            low = [min(int(place), SIDE - 2) for place in at]
            (a, b), (i, j) = (place - base for place, base in zip(at, low, strict=True)), low
            square = smooth[:, i : i + 2, j : j + 2]
            between = (1 - b) * square[..., 0] + b * square[..., 1]
            between = (1 - a) * between[:, 0] + a * between[:, 1]
            rows.append(np.concatenate([detail[:, y, x], between, [1.0]]))
    return np.array(rows)


def in_squares(maps: np.ndarray) -> np.ndarray:
    """Means over squares of 2x2, (C, H / 2, W / 2)."""
    return (maps[:, ::2, ::2] + maps[:, 1::2, ::2] + maps[:, ::2, 1::2] + maps[:, 1::2, 1::2]) / 4


def reference_equations(
    features: ImageFeatures, logits: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """The sums of one object over the positions of a frame."""
    inputs = reference_inputs(features)
    inside = 1 / (1 + np.exp(-logits[0].double().numpy()))
    inside = inside.reshape(2 * SIDE, 2, 2 * SIDE, 2).mean(axis=(1, 3)).ravel()
    outside = 1 - inside
    weight = inside / (2 * max(inside.sum(), 1)) + outside / (2 * max(outside.sum(), 1))
    products = sum(w * np.outer(x, x) for w, x in zip(weight, inputs, strict=True))
    wanted = sum(w * (2 * m - 1) * x for w, m, x in zip(weight, inside, inputs, strict=True))
    return products, wanted


@pytest.mark.parametrize("place", [(10, 12, 20), (0, 0, 1), (0, 0, 0)])
def test_values_are_those_of_the_definition(place: tuple[int, int, int]) -> None:
    """Learned from two prompted frames and one tracked frame, for a third; also without a mask."""
    target, now = a_target(), some_features(9)
    frames = [(some_features(seed), some_logits(place)) for seed in (0, 1, 2)]
    (a0, b0), (a1, b1), (a2, b2) = (reference_equations(f, m[0]) for f, m in frames)
    a, b = ((0.6 * p + 0.4 * q + (p + r) / 2) / 2 for p, q, r in ((a0, a2, a1), (b0, b2, b1)))
    wanted = np.linalg.solve(a + 0.001 * np.eye(len(a)), b) @ reference_inputs(now).T

    first, second, tracked = (target.equations(target.inputs(f), m) for f, m in frames)
    rate = target.rate(decoded_as(some_logits((10, 12, 20))))
    equations = joined([first, second], first, followed(first, None, tracked, rate))
    found = F.pixel_shuffle(target(target.inputs(now), equations), 2)
    np.testing.assert_allclose(found.flatten().numpy(), wanted, atol=2e-3)


def test_an_object_is_found_where_it_looks_alike() -> None:
    target, logits = a_target(), some_logits((10, 12, 20))
    inputs = target.inputs(some_features())
    values = target(inputs, target.equations(inputs, logits))
    found = target.combine(torch.zeros_like(logits), values, torch.zeros(1)) > 0
    assert (found & (logits > 0)).sum() / (found | (logits > 0)).sum() > 0.7
    assert target.combine(logits, values, torch.ones(1)).equal(logits)  # motion is certain


def test_objects_together_are_as_each_alone() -> None:
    target, logits = a_target(), some_logits((4, 4, 16), (20, 20, 20), (30, 2, 9))
    inputs = target.inputs(some_features())
    equations = target.equations(inputs, logits)
    alone = [target.equations(inputs, one[None]) for one in logits]
    torch.testing.assert_close(equations, torch.cat(alone))
    torch.testing.assert_close(
        target(inputs, equations), torch.cat([target(inputs, e) for e in alone])
    )
    # frames of their own, as in training
    frames = [some_features(seed) for seed in (3, 4, 5)]
    own = [target.inputs(frame) for frame in frames]
    together = ImageFeatures(
        torch.cat([f.tokens for f in frames], dim=1),
        torch.cat([f.position for f in frames], dim=1),
        [torch.cat(levels) for levels in zip(*(f.high_res for f in frames), strict=True)],
        frames[0].size,
    )
    inputs = target.inputs(together)
    apart = [target.equations(x, one[None]) for x, one in zip(own, logits, strict=True)]
    torch.testing.assert_close(target.equations(inputs, logits), torch.cat(apart))
    found = [target(x, e) for x, e in zip(own, apart, strict=True)]
    torch.testing.assert_close(target(inputs, torch.cat(apart)), torch.cat(found))


def test_half_precision_changes_nothing_but_rounding() -> None:
    target, features, logits = a_target(), some_features(), some_logits((10, 12, 20))

    def values(features: ImageFeatures) -> Tensor:
        inputs = target.inputs(features)
        return target(inputs, target.equations(inputs, logits))

    exact = values(features)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(values(features), exact)
    half = replace(
        features,
        tokens=features.tokens.bfloat16(),
        high_res=[level.bfloat16() for level in features.high_res],
    )
    near = values(half)
    assert near.dtype == torch.float32
    assert (near - exact).abs().mean() < 0.05


def test_doubtful_frames_are_not_learned_from() -> None:
    target, logits = a_target(), some_logits((10, 12, 20))
    assert target.rate(decoded_as(logits)) == pytest.approx(0.4)
    assert target.rate(decoded_as(logits, presence=-1.0)) == 0
    assert target.rate(decoded_as(logits, iou=0.3)) == 0
    assert target.rate(decoded_as(some_logits((10, 12, 2)))) == 0
    known = torch.rand(1, 5, 6)
    first, new = torch.rand(2, 1, 5, 6)
    assert torch.equal(followed(first, known, new, torch.zeros(1)), known)


def test_the_running_mean_begins_with_the_first_prompted_frame() -> None:
    first, other, tracked = torch.rand(3, 1, 5, 6)
    prompted, rate = [other, first], torch.full((1,), 0.2)
    assert torch.equal(joined(prompted, first, None), joined(prompted, first, first))
    begun = followed(first, None, tracked, rate)
    assert torch.equal(begun, followed(first, first, tracked, rate))
    assert torch.equal(joined(prompted, first, begun), joined(prompted, other, begun))


def test_a_mask_is_doubted_where_the_classifier_finds_something_else() -> None:
    target = a_target()
    inputs = target.inputs(some_features())
    logits = some_logits((10, 12, 20), (10, 12, 20), (10, 12, 20), (30, 34, 8))
    values = target(inputs, target.equations(inputs, logits[:1])).expand(4, -1, -1, -1)
    decoded = replace(decoded_as(logits), ious=torch.tensor([0.8, 0.1, 0.1, 0.8]))
    certain = torch.tensor([0.0, 0.0, 1.0, 0.0])
    assert target.doubtful(decoded, values, certain).tolist() == [False, True, False, True]
    assert not target.doubtful(decoded, values, torch.ones(4)).any()  # motion is certain
    hardly = replace(decoded, presence_logits=torch.full((4, 1), -1.5))
    assert target.doubtful(hardly, values, torch.zeros(4)).all()
    nothing = decoded_as(torch.full_like(logits[:1], -1024.0))
    assert target.doubtful(nothing, -values[:1].abs(), torch.zeros(1)).all()


def a_model(config: Path, **changes: object) -> SurgSAM2Model:
    """The built-in network with random weights whose objects are present and well predicted.

    `changes` are those of its target model; `target_model=None` leaves it out.
    """
    settings = load_config(str(config))
    if "target_model" in changes:
        del settings["target_model"]
    else:
        settings["target_model"] = {**settings["target_model"], **changes}
    network = build_network(settings, "built-in", SurgSAM2Network).eval()
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(5)
        network.sam_mask_decoder.iou_prediction_head.layers[-1].bias.fill_(5)
    cpu = torch.device("cpu")
    return SurgSAM2Model("built-in", network, OmegaConf.create({}), cpu, torch.float32, EFP(), None)


def cuts(count: int) -> np.ndarray:
    """Frames of noise, between which no motion can be told, (T, 120, 160, 3) uint8."""
    return np.random.default_rng(0).integers(0, 255, (count, 120, 160, 3), np.uint8)


def two_objects() -> PromptSet:
    prompts = PromptSet().add(object_id=1, frame=0, mask=disc(160, 120, 60, 60, 30))
    return prompts.add(object_id=2, frame=0, points=[[120, 30, 1]])


def some_tracker(model: SurgSAM2Model) -> Tracker:
    return Tracker(model, 160, 120, options=TrackingOptions(allow_overlap=True))


def test_a_tracker_learns_from_prompted_and_tracked_frames(built_in_config: Path) -> None:
    model, frames, prompts = a_model(built_in_config), cuts(3), two_objects()
    tracker = some_tracker(model)
    tracker.step(frames[0], prompts)
    bank = tracker.state_dict()["objects"][0]
    count = model.network.target_input_count
    assert bank["conditioning"][0][-1].shape == (count, count + 1)
    assert bank["target"] is None
    tracker.step(frames[1], prompts)
    learned = tracker.state_dict()["objects"][0]["target"]
    assert learned.shape == (count, count + 1)
    # a correction is a prompted frame of its own, and leaves what was tracked as it is
    prompts.add(object_id=1, frame=2, mask=disc(160, 120, 90, 60, 20))
    tracker.step(frames[2], prompts)
    bank = tracker.state_dict()["objects"][0]
    one, other = (item[-1] for item in bank["conditioning"])
    assert not torch.equal(one, other)
    assert torch.equal(bank["target"], learned)


def test_objects_of_a_tracker_are_as_each_alone(built_in_config: Path) -> None:
    model, frames, both = a_model(built_in_config), cuts(3), two_objects()
    together = some_tracker(model)
    results = [together.step(frame, both) for frame in frames]
    for obj in both:
        alone, prompts = some_tracker(model), PromptSet().put(obj)
        for frame, result in zip(frames, results, strict=True):
            found, wanted = alone.step(frame, prompts).mask(obj.id), result.mask(obj.id)
            assert (found != wanted).mean() < 1e-3


def test_the_decoder_is_given_what_was_found_as_a_mask_prompt(
    built_in_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = a_model(built_in_config).network
    given = []

    def noted(*arguments: object, mask_inputs: Tensor | None = None, **others: object) -> Decoded:
        given.append(mask_inputs)
        return real(*arguments, mask_inputs=mask_inputs, **others)

    real = network.predict_masks
    monkeypatch.setattr(network, "predict_masks", noted)
    side = network.image_size // network.backbone_stride
    values = torch.full((2, 4, side, side), 0.5)
    values[1] = -3
    certain, carried = torch.zeros(2, 16, side, side), torch.full((2, 48, side, side), 7.0)
    certain[:, :, : side // 2] = 1
    with sam2_modules(), torch.no_grad():
        features = network.encode_image(torch.randn(1, 3, network.image_size, network.image_size))
        own = network.without_memory(features).expand(2, -1, -1, -1)
        network.decode_tracked(features, torch.cat([own, certain, carried, values], dim=1))
        network.decode_tracked(features, own)
    found, nothing = given
    assert nothing is None
    above, below = found.chunk(2, dim=2)
    assert (above == 7).all(), "what motion carried, where it is certain"
    assert (below[0] == 5).all()
    assert (below[1] == -10).all(), "logits are limited"


def test_networks_without_it_learn_nothing(built_in_config: Path) -> None:
    frames, prompts = cuts(2), two_objects()
    own, plain = a_model(built_in_config), a_model(built_in_config, target_model=None)
    trackers = [some_tracker(model) for model in (own, plain)]
    first = [tracker.step(frames[0], prompts).logits for tracker in trackers]
    assert np.array_equal(*first)
    second = [tracker.step(frames[1], prompts).logits for tracker in trackers]
    assert not np.array_equal(*second)
    assert plain.network.target_input_count == 0
    assert trackers[1].state_dict()["objects"][0]["target"] is None
    with pytest.raises(ValueError, match="are not the network's"):
        trackers[1].load_state_dict(trackers[0].state_dict())


def test_what_is_doubted_is_remembered_but_not_shown(built_in_config: Path) -> None:
    frames, prompts, results, maps = cuts(2), two_objects(), [], []
    for least in (0.0, 1.0):
        tracker = some_tracker(a_model(built_in_config, min_confidence=least))
        tracker.step(frames[0], prompts)
        results.append(tracker.step(frames[1], prompts))
        maps.append(tracker.state_dict()["objects"][0]["maps"][0][1])
    shown, hidden = results
    assert shown.mask(1).any()
    assert not hidden.mask(1).any()
    assert hidden.presence[0] < 0.5 < shown.presence[0]
    assert torch.equal(*maps)


def test_it_needs_the_finer_maps() -> None:
    config = {**load_config("lite", 64), "use_high_res_features_in_sam": False}
    with pytest.raises(InputError, match="target_model needs use_high_res_features_in_sam"):
        build_network(config, "own", SurgSAM2Network)


def test_it_goes_with_the_search_for_lost_objects(built_in_config: Path) -> None:
    """A tracker that does both goes on from a saved state to the last bit."""
    model, prompts = a_model(built_in_config), two_objects()
    frames = np.repeat(cuts(2), 3, axis=0)  # frames that are close, and a cut
    options = TrackingOptions(allow_overlap=True, memory="reliable", min_similarity=0.4)
    whole = Tracker(model, 160, 120, options=options)
    for frame in frames[:3]:
        whole.step(frame, prompts)
    resumed = Tracker(model, 160, 120, options=options)
    resumed.load_state_dict(copy_to_cpu(whole.state_dict()))
    for frame in frames[3:]:
        wanted, found = (tracker.step(frame, prompts) for tracker in (whole, resumed))
        assert np.array_equal(wanted.logits, found.logits)
        assert np.array_equal(wanted.presence, found.presence)
    assert whole.state_dict()["objects"][0]["target"] is not None


def test_the_estimate_is_of_the_combined_mask(built_in_config: Path) -> None:
    """The mask decoder estimates the IoU of its own mask, and what was found makes another one."""
    network = a_model(built_in_config).network
    side = network.image_size // network.backbone_stride
    logits = torch.full((4, 1, 4 * side, 4 * side), -8.0)
    logits[:, :, side : 3 * side, side : 3 * side] = 8.0
    presence = torch.tensor([[5.0], [5.0], [5.0], [-5.0]])
    decoded = replace(decoded_as(logits), presence_logits=presence)
    values = torch.zeros(4, 4, side, side)
    values[1:, :, :, side // 2 :] = -3  # removes the right half
    values[2] = -3
    motion = torch.zeros(4, 64, side, side)
    conditioned = torch.cat([torch.zeros(4, network.hidden_dim, side, side), motion, values], dim=1)
    found = network.with_motion_and_target(decoded, conditioned)
    kept, part, removed, absent = found.ious.tolist()
    assert kept == absent == pytest.approx(0.8)
    assert removed == 0
    assert part == pytest.approx(0.8 / 2, abs=0.05)
    assert torch.equal(found.low_res[3], logits[3])
