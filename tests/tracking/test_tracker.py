"""The streaming tracker: what comes out, what it refuses, what it remembers."""

from __future__ import annotations

import gc
import os
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import surgsam2
from surgsam2 import EFP, PromptSet, Tracker
from surgsam2.errors import InputError, PromptError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.postprocess import make_result, tidy
from tests.conftest import demo_config_at, disc, moving_picture
from tests.tracking.memory_size import memory_bytes

OVERLAPPING = TrackingOptions(allow_overlap=True)

WIDTH, HEIGHT = 160, 120
TOGETHER = 2e-3  # see test_equals_sam2


def tracker(model: SurgSAM2Model, **options: object) -> Tracker:
    return Tracker(model, WIDTH, HEIGHT, **{"options": OVERLAPPING} | options)


def three_objects(frame: int = 0) -> PromptSet:
    prompts = PromptSet()
    prompts.add(object_id=3, frame=frame, points=[[40, 50, 1]])
    prompts.add(object_id=1, frame=frame, mask=disc(WIDTH, HEIGHT, 100, 60, 15))
    return prompts.add(object_id=65535, frame=frame, box=[60, 40, 90, 80])


def test_a_result_has_masks_and_estimates_for_each_object(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    a_tracker = tracker(a_model)
    for index, frame in enumerate(a_clip[:4]):
        result = a_tracker.step(frame, three_objects() if index == 0 else None)
        assert result.frame_index == index
        assert result.object_ids == (3, 1, 65535)
        assert result.masks.shape == (3, HEIGHT, WIDTH)
        assert result.masks.dtype == bool
        for scores in (result.iou_scores, result.presence):
            assert scores.shape == (3,)
            assert ((scores >= 0) & (scores <= 1)).all()
        assert result.logits.shape == (3, HEIGHT, WIDTH)
        if index:  # on frame 0, masks that were given are the result
            assert np.array_equal(result.logits > 0, result.masks)
        assert result.milliseconds > 0


def test_a_mask_prompt_comes_back_as_the_mask(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    mask = disc(WIDTH, HEIGHT, 80, 60, 30)
    result = tracker(a_model).step(a_clip[0], PromptSet().add(object_id=1, frame=0, mask=mask))
    overlap = (result.mask(1) & mask).sum() / (result.mask(1) | mask).sum()
    assert overlap > 0.93  # the mask went through a quarter of the network's resolution
    assert result.iou_scores[0] == 1


def test_no_object_no_masks(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    result = tracker(a_model).step(a_clip[0])
    assert result.masks.shape == (0, HEIGHT, WIDTH)
    assert result.logits.shape == (0, HEIGHT, WIDTH)


def test_the_same_set_may_be_passed_with_every_frame(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    prompts = three_objects()
    prompts.add(object_id=3, frame=3, box=[20, 20, 60, 60])
    always, once = tracker(a_model), tracker(a_model)
    for index, frame in enumerate(a_clip[:6]):
        a = always.step(frame, prompts)
        b = once.step(frame, prompts if index in (0, 3) else None)
        assert np.array_equal(a.logits, b.logits)


def test_objects_may_be_added_and_removed(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    a_tracker, alone = tracker(a_model), tracker(a_model)
    only_1 = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 100, 60, 15))
    late = PromptSet().add(object_id=7, frame=4, points=[[30, 30, 1]])
    for index, frame in enumerate(a_clip):
        result = a_tracker.step(frame, {0: three_objects(), 4: late}.get(index))
        single = alone.step(frame, only_1 if index == 0 else None)
        np.testing.assert_allclose(
            result.logits[result.object_ids.index(1)], single.logits[0], rtol=0, atol=TOGETHER
        )
        if index == 2:
            a_tracker.remove_object(3)
    assert a_tracker.object_ids == (1, 65535, 7)
    with pytest.raises(InputError, match="object 3 is not tracked"):
        a_tracker.remove_object(3)


@pytest.mark.parametrize("form", ["capped", "full-bank"])
@pytest.mark.parametrize("begins", [(0, 0, 0), (0, 3, 7), (5, 0, 5)])
def test_an_object_in_a_batch_is_what_it_is_alone(
    a_model: SurgSAM2Model, form: str, begins: tuple[int, ...]
) -> None:
    """Also when objects begin at different times, and so differ in what they prune."""
    clip = moving_picture(12, seed=sum(begins))
    model = replace(a_model, pruning=EFP(form))
    together = tracker(model)
    alone = [tracker(model) for _ in begins]
    every, own = PromptSet(), [PromptSet() for _ in begins]
    for i, frame in enumerate(begins):
        for prompts in (every, own[i]):
            prompts.add(object_id=i + 1, frame=frame, points=[[30 + 25 * i, 60, 1]])
    for index, frame in enumerate(clip):
        result = together.step(frame, every)
        assert set(result.object_ids) == {i + 1 for i, b in enumerate(begins) if b <= index}
        for i, single in enumerate(alone):
            expected = single.step(frame, own[i])
            for row, object_id in enumerate(result.object_ids):
                if object_id == i + 1:
                    np.testing.assert_allclose(
                        result.logits[row], expected.logits[0], rtol=0, atol=TOGETHER
                    )


def test_the_same_set_may_go_on_after_an_object_was_removed(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    a_tracker, prompts = tracker(a_model), three_objects()
    prompts.add(object_id=3, frame=5, box=[20, 20, 60, 60])
    seen = []
    for index, frame in enumerate(a_clip[:7]):
        seen.append(a_tracker.step(frame, prompts).object_ids)
        if index == 2:
            a_tracker.remove_object(3)
    assert seen == [(3, 1, 65535)] * 3 + [(1, 65535)] * 2 + [(1, 65535, 3)] * 2


def test_refuses_a_mask_that_vanishes_in_the_network(a_model: SurgSAM2Model) -> None:
    mask = np.zeros((1080, 1920), bool)
    mask[500:503, 900:903] = True
    prompts = PromptSet().add(object_id=5, frame=0, mask=mask)
    with pytest.raises(PromptError, match="object 5, frame 0: the mask vanishes"):
        Tracker(a_model, 1920, 1080).step(np.zeros((1080, 1920, 3), np.uint8), prompts)


def test_overlaps_go_to_the_higher_logit(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    prompts = PromptSet()
    for object_id, x in ((1, 70), (2, 90)):
        prompts.add(object_id=object_id, frame=0, mask=disc(WIDTH, HEIGHT, x, 60, 30))
    free = tracker(a_model)
    exclusive = tracker(a_model, options=TrackingOptions())
    for frame in a_clip[:4]:
        loose, strict = free.step(frame, prompts), exclusive.step(frame, prompts)
        assert np.array_equal(loose.logits, strict.logits)  # memories are not affected
        assert not strict.masks.all(axis=0).any()
        assert np.array_equal(loose.masks.any(axis=0), strict.masks.any(axis=0))
        won = strict.masks[1] & loose.masks[0]
        assert (strict.logits[1][won] >= strict.logits[0][won]).all()


def test_small_holes_are_filled_and_large_ones_kept(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    ring = disc(WIDTH, HEIGHT, 80, 60, 40)
    ring &= ~disc(WIDTH, HEIGHT, 60, 60, 5) & ~disc(WIDTH, HEIGHT, 95, 60, 14)
    plain = own_mask(a_model, a_clip, ring, min_region=0)
    filled = own_mask(a_model, a_clip, ring, min_region=0.005)
    assert not plain[60, 60]
    assert filled[60, 60]
    assert not filled[60, 95]
    assert filled[plain].all()


def test_specks_are_removed_and_the_largest_part_alone_is_kept_on_request(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    parts = disc(WIDTH, HEIGHT, 50, 60, 25) | disc(WIDTH, HEIGHT, 120, 60, 14)
    with_speck = parts | disc(WIDTH, HEIGHT, 150, 10, 5)
    plain = own_mask(a_model, a_clip, with_speck, min_region=0)
    cleaned = own_mask(a_model, a_clip, with_speck, min_region=0.005)
    largest = own_mask(a_model, a_clip, with_speck, min_region=0, largest_part=True)
    places = [(60, 50), (60, 120), (10, 150)]
    assert [plain[place] for place in places] == [True, True, True]
    assert [cleaned[place] for place in places] == [True, True, False]
    assert [largest[place] for place in places] == [True, False, False]
    assert plain[cleaned].all()
    assert cleaned[largest].all()


def test_a_small_object_stays_and_an_empty_mask_stays_empty() -> None:
    logits = torch.full((3, 1, 24, 24), -1.0)
    logits[1, 0, 5, 6] = logits[2, 0, 5, 6] = logits[2, 0, 9, 1:3] = 1.0
    options = TrackingOptions(min_region=0.05)
    masks = tidy(logits, options)[:, 0] > 0
    assert [mask.nonzero().tolist() for mask in masks] == [[], [[5, 6]], [[9, 1], [9, 2]]]
    assert tidy(logits, TrackingOptions(min_region=0)) is logits


def own_mask(
    model: SurgSAM2Model, clip: np.ndarray, mask: np.ndarray, **options: Any
) -> np.ndarray:
    """Return the network's own mask of frame 0 for a mask that is given."""
    a_tracker = tracker(model)
    prompts = PromptSet().add(object_id=1, frame=0, mask=mask)
    outputs = a_tracker.advance(a_tracker.encoded(clip[0]), prompts)
    own = {i: replace(output, given=None) for i, output in outputs.items()}
    chosen = TrackingOptions(**options)
    return make_result(0, own, (WIDTH, HEIGHT), chosen, 0.0).masks[0]


def test_a_prompted_frame_conditions_later_ones(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    """A prompt in the middle changes what follows, and stays when other memories are gone."""
    first = three_objects()
    again = PromptSet().add(object_id=1, frame=5, mask=disc(WIDTH, HEIGHT, 30, 30, 10))
    plain, corrected = tracker(a_model), tracker(a_model)
    for index, frame in enumerate(a_clip):
        a = plain.step(frame, first if index == 0 else None)
        b = corrected.step(frame, {0: first, 5: again}.get(index))
        row = a.object_ids.index(1)
        assert (np.abs(a.logits[row] - b.logits[row]).max() > 0.005) == (index >= 5)
    assert a.frame_index > 5 + a_model.network.num_maskmem


def test_a_tensor_gives_the_masks_of_an_array(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    arrays, tensors = tracker(a_model), tracker(a_model)
    prompts = three_objects()
    for frame in a_clip[:4]:
        wanted = arrays.step(frame, prompts)
        found = tensors.step(torch.from_numpy(frame), prompts)
        assert found.object_ids == wanted.object_ids
        assert (found.masks == wanted.masks).all()
        assert wanted.masks.any()


@pytest.mark.parametrize("shape", [(120, 160), (120, 160, 4), (121, 160, 3), (160, 120, 3)])
def test_refuses_frames_of_another_shape(a_model: SurgSAM2Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"frame must be \(120, 160, 3\) uint8 RGB, got"):
        tracker(a_model).step(np.zeros(shape, np.uint8))


def test_refuses_frames_of_another_type(a_model: SurgSAM2Model) -> None:
    with pytest.raises(InputError, match="float64"):
        tracker(a_model).step(np.zeros((HEIGHT, WIDTH, 3)))
    with pytest.raises(InputError, match="uint8 array, got list"):
        tracker(a_model).step([1, 2])  # type: ignore[arg-type]


def test_refuses_prompts_for_a_frame_that_has_passed(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    a_tracker = tracker(a_model)
    a_tracker.step(a_clip[0])
    with pytest.raises(PromptError, match="object 3: its prompt on frame 0 comes too late"):
        a_tracker.step(a_clip[1], three_objects(frame=0))


def test_refuses_prompts_outside_the_frame(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    prompts = PromptSet().add(object_id=4, frame=0, points=[[160, 3, 1]])
    with pytest.raises(PromptError, match="object 4"):
        tracker(a_model).step(a_clip[0], prompts)


def test_refuses_sizes_and_options() -> None:
    with pytest.raises(InputError, match="0x5"):
        Tracker(None, 0, 5)
    for wrong in (-1, "a", 2.5, True):
        with pytest.raises(InputError, match=f"min_region must be a number .* got {wrong!r}"):
            TrackingOptions(min_region=wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=f"long_term must be a whole number .* got {wrong!r}"):
            TrackingOptions(long_term=wrong)  # type: ignore[arg-type]
    assert TrackingOptions(long_term=np.int64(8)).long_term == 8
    assert TrackingOptions(min_region=np.float32(0.01)).min_region == np.float32(0.01)


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def live_tensor_bytes() -> int:
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, torch.nn.Parameter):  # not a compiler's stand-ins
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def run(a_tracker: Tracker, clip: np.ndarray, start: int, stop: int) -> None:
    for index in range(start, stop):
        a_tracker.step(clip[index % len(clip)], three_objects() if index == 0 else None)


def test_memory_does_not_grow(demo_checkpoint: Path, tmp_path: Path, a_clip: np.ndarray) -> None:
    """From frame 100 to frame 500, with three objects; a nightly test tracks 10,000 frames."""
    config = demo_config_at(64, tmp_path)
    a_tracker = tracker(surgsam2.load_model(demo_checkpoint, config=str(config), device="cpu"))
    run(a_tracker, a_clip, 0, 100)
    before = live_tensor_bytes(), memory_bytes(a_tracker), resident_megabytes()
    run(a_tracker, a_clip, 100, 500)
    after = live_tensor_bytes(), memory_bytes(a_tracker), resident_megabytes()
    assert after[0] <= before[0]
    assert after[1] == before[1]
    assert after[2] - before[2] < 30


def test_the_memory_test_sees_a_leak_of_one_map_per_frame(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    a_tracker = tracker(a_model)
    run(a_tracker, a_clip, 0, 1)
    for bank in a_tracker._banks.values():
        store = bank._tracked
        store._maps = deque(store._maps, maxlen=None)
    run(a_tracker, a_clip, 1, 20)
    before = live_tensor_bytes(), memory_bytes(a_tracker)
    run(a_tracker, a_clip, 20, 22)
    after = live_tensor_bytes(), memory_bytes(a_tracker)
    assert after[0] > before[0]
    assert after[1] > before[1]


def test_the_state_is_what_the_design_says(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    """Per object: its prompted frame with its appearance, 6 spatial memories, 15 pointers."""
    a_tracker = tracker(a_model)
    prompts = PromptSet().add(object_id=1, frame=0, points=[[40, 50, 1]])
    for index in range(40):
        a_tracker.step(a_clip[index % len(a_clip)], prompts if index == 0 else None)
    network = a_model.network
    map_bytes = network.mem_dim * (a_model.image_size // 16) ** 2 * 2  # bfloat16
    pointer_bytes = network.hidden_dim * 4
    mask_bytes = (a_model.image_size // 4) ** 2 * 4 + 2 * 4
    look_bytes = (network.hidden_dim + 1) * 4
    assert memory_bytes(a_tracker) == 7 * map_bytes + 16 * pointer_bytes + mask_bytes + look_bytes


def test_training_after_tracking_still_works(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    """Caches filled while tracking must not be inference-only tensors."""
    tracker(a_model).step(a_clip[0], three_objects())
    attention = a_model.network.memory_attention
    tokens = torch.randn(64, 1, 128, requires_grad=True)
    memory = torch.randn(64, 1, 32)
    out = attention(curr=[tokens], curr_pos=[tokens * 0], memory=memory, memory_pos=memory * 0)
    out.sum().backward()
    assert tokens.grad is not None


@pytest.mark.gpu
def test_on_a_gpu(a_model: SurgSAM2Model, demo_checkpoint, small_config, a_clip) -> None:
    """float32 on CUDA follows the CPU; bfloat16 runs."""
    for dtype, tolerance in (("float32", 0.1), ("bfloat16", None)):
        model = surgsam2.load_model(
            demo_checkpoint, config=str(small_config), device="cuda", dtype=dtype
        )
        here, there = tracker(a_model), tracker(model)
        for frame in a_clip[:4]:
            a, b = here.step(frame, three_objects()), there.step(frame, three_objects())
            if tolerance is not None:
                np.testing.assert_allclose(a.logits, b.logits, rtol=0, atol=tolerance)
