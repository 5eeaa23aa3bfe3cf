"""Each memory policy equals a slow reference, is bounded, and can be saved and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import surgsam2
from surgsam2.errors import InputError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.pruning import EFP
from surgsam2.prompts import PromptSet
from surgsam2.tracking.memory import ConditioningMemory, MaskOutput, MemoryBank
from surgsam2.tracking.memory_policy import MemoryPolicy, most_diverse, most_reliable
from surgsam2.tracking.options import MEMORY_POLICIES, TrackingOptions
from surgsam2.tracking.segment import segment_video
from surgsam2.tracking.tracked_memories import FrameMemory
from surgsam2.tracking.tracker import Tracker
from tests.conftest import disc

WIDTH, HEIGHT = 160, 120
CHANNELS, PICTURE, SIDE = 4, 2, 3
"""Numbers of channels of a memory and of what mask motion adds behind them; side of the map."""


def random_map(rng: np.random.Generator) -> torch.Tensor:
    values = rng.normal(size=(CHANNELS + PICTURE, SIDE, SIDE))
    values[CHANNELS:] *= 10  # would decide what is alike, if it counted
    return torch.from_numpy(values.astype(np.float32))


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean over positions of the cosine, written out pixel by pixel."""
    cosines = []
    for y in range(SIDE):
        for x in range(SIDE):
            u, v = a[:CHANNELS, y, x], b[:CHANNELS, y, x]
            cosines.append(float(u @ v) / float(np.linalg.norm(u) * np.linalg.norm(v)))
    return sum(cosines) / len(cosines)


class Reference:
    """The policies as their description says, with lists and one memory at a time."""

    def __init__(self, policy: MemoryPolicy, prompt: np.ndarray, window: int) -> None:
        self.policy, self.prompt, self.size = policy, prompt, window
        self.window: list[tuple[str, np.ndarray, bool]] = []
        self.long_term: list[tuple[str, np.ndarray, bool]] = []

    def add(self, name: str, values: np.ndarray, reliable: bool) -> None:
        self.window.append((name, values, reliable))
        if len(self.window) <= self.size:
            return
        out = self.window[0]
        if self.policy.memory.startswith("reliable"):
            doubtful = [entry for entry in self.window if not entry[2]]
            out = doubtful[0] if doubtful else self.window[0]
        self.window = [entry for entry in self.window if entry is not out]
        if self.policy.memory.endswith("diverse"):
            self.long_term.append(out)
            if len(self.long_term) > self.policy.long_term:
                worst = self._most_redundant()
                self.long_term = [entry for entry in self.long_term if entry is not worst]

    def _most_redundant(self) -> tuple[str, np.ndarray, bool]:
        doubtful = [entry for entry in self.long_term if not entry[2]]
        candidates = doubtful or self.long_term
        worst, highest = candidates[0], -2.0
        for entry in candidates:
            others = [self.prompt, *(e[1] for e in self.long_term if e is not entry)]
            redundancy = max(similarity(entry[1], other) for other in others)
            if redundancy >= highest - 1e-6:  # of equal ones the newer
                worst, highest = entry, redundancy
        return worst


class ATinyNetwork:
    """The numbers of a network that a bank reads."""

    num_maskmem = 4
    mem_dim = CHANNELS
    memory_channels = CHANNELS + PICTURE
    max_obj_ptrs_in_encoder = 16
    max_cond_frames_in_attn = -1
    only_obj_ptrs_in_the_past_for_eval = True
    use_signed_tpos_enc_to_obj_ptrs = False


def prompted(values: torch.Tensor) -> ConditioningMemory:
    output = MaskOutput(torch.zeros(1, 1, 2, 2), torch.ones(2))
    return ConditioningMemory(values, torch.zeros(2), output, torch.zeros(2))


@pytest.mark.parametrize("memory", MEMORY_POLICIES)
@pytest.mark.parametrize("seed", range(5))
def test_a_bank_keeps_what_the_reference_keeps(memory: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    policy = MemoryPolicy(memory, long_term=3)
    bank = MemoryBank(ATinyNetwork(), policy=policy)  # type: ignore[arg-type]
    prompt = random_map(rng)
    bank.condition(0, prompted(prompt))
    reference = Reference(policy, prompt.numpy(), ATinyNetwork.num_maskmem - 1)
    maps: dict[str, torch.Tensor] = {}
    for index in range(1, 40):
        name = str(index)
        # some frames resemble an earlier one
        maps[name] = random_map(rng)
        if index > 3 and rng.random() < 0.5:
            maps[name] = maps[str(index - 3)] + 0.1 * maps[name]
        reliable = bool(rng.random() < 0.6)
        bank.add(index, FrameMemory(maps[name], torch.zeros(2), torch.tensor(reliable)))
        reference.add(name, maps[name].numpy(), reliable)
        view = bank.view(index + 1, pointer_limit=15)
        wanted = [*(maps[n] for n, *_ in reference.long_term), prompt]
        wanted += [maps[n] for n, *_ in reference.window]
        assert view.long_term == len(reference.long_term)
        assert len(view.maps) == len(wanted)
        assert all(torch.equal(a, b) for a, b in zip(view.maps, wanted, strict=True))
        ages = list(range(len(reference.window), 0, -1))
        assert view.map_ages == [0] * (len(reference.long_term) + 1) + ages


@pytest.mark.parametrize("memory", MEMORY_POLICIES)
@pytest.mark.parametrize("reverse", [False, True])
def test_the_mask_of_the_nearest_earlier_frame_is_carried(memory: str, reverse: bool) -> None:
    """The reference knows every frame, also those whose memory the policy forgets at once."""
    rng, step = np.random.default_rng(0), -1 if reverse else 1
    policy = MemoryPolicy(memory)
    bank = MemoryBank(ATinyNetwork(), reverse=reverse, policy=policy)  # type: ignore[arg-type]
    maps = {index: random_map(rng) for index in range(40)}
    for index in (0, 20, 25, 30):
        bank.condition(50 + step * index, prompted(maps[index]))
    seen, anchors = {0}, [0, 20, 25, 30]
    for index in range(1, 40):
        if index in (7, 8, 20, 33):
            if index == 20:
                seen.add(index)
            continue  # frames 7, 8 and 33 are missing in the video
        view = bank.view(50 + step * index, pointer_limit=15)
        nearest = maps[max(t for t in seen if t < index)]
        assert torch.equal(view.previous, nearest[CHANNELS:])
        anchor = maps[max(t for t in anchors if t < index)]
        assert torch.equal(view.anchor, anchor[CHANNELS:])
        reliable = torch.tensor(bool(rng.random() < 0.5))
        bank.add(50 + step * index, FrameMemory(maps[index], torch.zeros(2), reliable))
        seen.add(index)
        if index == 35:  # the user corrects the frame that was tracked last
            maps[index] = random_map(rng)
            bank.condition(50 + step * index, prompted(maps[index]))
            anchors.append(index)


def test_a_late_prompt_is_not_taken_for_the_one_that_motion_began_at() -> None:
    rng = np.random.default_rng(0)
    bank = MemoryBank(ATinyNetwork())  # type: ignore[arg-type]
    first = random_map(rng)
    bank.condition(0, prompted(first))
    for index in range(1, 6):
        bank.add(index, FrameMemory(random_map(rng), torch.zeros(2), None))
    bank.condition(3, prompted(random_map(rng)))
    assert torch.equal(bank.view(6, pointer_limit=15).anchor, first[CHANNELS:])


@pytest.mark.parametrize("memory", MEMORY_POLICIES)
def test_a_bank_does_not_grow(memory: str) -> None:
    rng = np.random.default_rng(0)
    bank = MemoryBank(ATinyNetwork(), policy=MemoryPolicy(memory))  # type: ignore[arg-type]
    bank.condition(0, prompted(random_map(rng)))
    sizes = []
    for index in range(1, 1000):
        reliable = torch.tensor(index % 100 < 50)  # the object comes and goes
        bank.add(index, FrameMemory(random_map(rng), torch.zeros(2), reliable))
        if index in (50, 999):
            sizes.append(sum(t.numel() for t in tensors_in(bank.state_dict())))
    assert sizes[0] == sizes[1]


def test_the_oldest_doubtful_memory_goes() -> None:
    rows = torch.tensor([[True, False, True, False], [True, True, True, True]])
    assert most_reliable(rows).tolist() == [[0, 2, 3], [1, 2, 3]]


def test_the_newer_of_two_equal_memories_goes() -> None:
    torch.manual_seed(0)
    a, b, prompt = torch.randn(3, CHANNELS, 9)
    everything = torch.ones(1, 3, dtype=torch.bool)
    assert most_diverse(torch.stack([a, b, a])[None], everything, prompt[None]).tolist() == [[0, 1]]
    assert most_diverse(torch.stack([b, prompt, a])[None], everything, prompt[None]).tolist() == [
        [0, 2]
    ]


def test_each_object_of_a_batch_is_judged_alone() -> None:
    torch.manual_seed(1)
    maps, first = torch.randn(6, 4, CHANNELS, 9), torch.randn(6, CHANNELS, 9)
    reliable = torch.rand(6, 4) < 0.7
    together = most_diverse(maps, reliable, first)
    for row in range(6):
        alone = most_diverse(maps[row : row + 1], reliable[row : row + 1], first[row : row + 1])
        assert torch.equal(alone[0], together[row])


def test_thresholds_are_inclusive() -> None:
    policy = MemoryPolicy("reliable", min_presence=0.5, min_iou=0.25)
    scores = torch.tensor([[0.25, 0.5], [0.24, 1.0], [1.0, 0.49]])
    assert policy.is_reliable(scores).tolist() == [True, False, False]


def test_pruning_selects_beside_long_term_memories() -> None:
    torch.manual_seed(2)
    maps = torch.randn(2, 9, CHANNELS, 9)
    kept = EFP().select(maps, 7, long_term=2)
    assert kept.shape == (2, 7)
    assert kept[:, :2].tolist() == [[0, 1], [0, 1]]
    assert torch.equal(kept[:, 2:] - 2, EFP().select(maps[:, 2:], 7))


# the tracker


def track(model: SurgSAM2Model, clip: np.ndarray, **options: Any) -> list[np.ndarray]:
    prompts = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 60, 60, 20))
    prompts.add(object_id=2, frame=3, points=[[90, 60, 1]])
    results = segment_video(model, clip, prompts, allow_overlap=True, **options)
    return [result.masks for result in results]


def test_the_default_is_pruning_alone(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    plain, named = track(a_model, a_clip), track(a_model, a_clip, memory="efp")
    assert all(np.array_equal(a, b) for a, b in zip(plain, named, strict=True))


def test_without_doubtful_frames_the_reliable_window_is_the_window(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    plain = track(a_model, a_clip)
    same = track(a_model, a_clip, memory="reliable", min_presence=0, min_iou=0)
    assert all(np.array_equal(a, b) for a, b in zip(plain, same, strict=True))
    none = track(a_model, a_clip, memory="diverse", long_term=0)
    assert all(np.array_equal(a, b) for a, b in zip(plain, none, strict=True))


@pytest.fixture(scope="module")
def built_in_model(built_in_config: Path) -> SurgSAM2Model:
    """The built-in model at 128 pixels, whose memories have channels for mask motion."""
    return surgsam2.load_model("demo", config=str(built_in_config), device="cpu")


@pytest.mark.parametrize("memory", ["efp", "reliable-diverse"])
def test_a_state_of_the_built_in_model_goes_on_to_the_bit(
    memory: str, built_in_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    options = TrackingOptions(memory=memory)  # type: ignore[arg-type]
    prompts = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 60, 60, 20))
    one, other = (Tracker(built_in_model, WIDTH, HEIGHT, options=options) for _ in range(2))
    for frame in a_clip[:9]:
        one.step(frame, prompts)
    other.load_state_dict(one.state_dict())
    assert np.array_equal(one.step(a_clip[9]).masks, other.step(a_clip[9]).masks)


@pytest.mark.parametrize("memory", MEMORY_POLICIES)
def test_a_state_goes_on_to_the_bit_and_is_bounded(
    memory: str, a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    options = TrackingOptions(memory=memory, allow_overlap=True)  # type: ignore[arg-type]
    prompts = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 60, 60, 20))
    one, other = (Tracker(a_model, WIDTH, HEIGHT, options=options) for _ in range(2))
    numbers = []
    for index, frame in enumerate(a_clip):
        one.step(frame, prompts)
        numbers.append(sum(t.numel() for t in tensors_in(one.state_dict())))
        if index == 10:
            break
    other.load_state_dict(one.state_dict())
    for frame in a_clip[11:]:
        a, b = one.step(frame), other.step(frame)
        assert np.array_equal(a.masks, b.masks)
        assert np.array_equal(a.iou_scores, b.iou_scores)
    later = sum(t.numel() for t in tensors_in(one.state_dict()))
    window = a_model.network.num_maskmem - 1
    assert later <= numbers[-1] + 20 * numbers[0], "a fixed number of memories"
    assert len(numbers) > window


def tensors_in(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list | tuple):
        return []
    return [tensor for item in inner for tensor in tensors_in(item)]


def test_the_state_of_another_policy_is_refused(a_model: SurgSAM2Model) -> None:
    state = Tracker(a_model, WIDTH, HEIGHT).state_dict()
    other = Tracker(a_model, WIDTH, HEIGHT, options=TrackingOptions(memory="reliable"))
    with pytest.raises(InputError, match="memory policy 'efp', but this tracker has 'reliable, "):
        other.load_state_dict(state)


def test_a_policy_that_needs_a_window_is_refused_without_one() -> None:
    with pytest.raises(InputError, match="num_maskmem 1; use 'efp' or 'window'"):
        MemoryPolicy("diverse").check(1)
    MemoryPolicy("window").check(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "endless"}, "memory must be one of|'endless'"),
        ({"long_term": 17}, "long_term must be a whole number from 0 to 16, got 17"),
        ({"min_presence": 1.5}, "min_presence must be a number from 0 to 1, got 1.5"),
        ({"min_iou": -1}, "min_iou must be a number from 0 to 1, got -1"),
        ({"min_similarity": 2}, "min_similarity must be a number from 0 to 1, got 2"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrackingOptions(**options)
