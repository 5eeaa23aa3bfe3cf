"""Recorded video with threads beside the tracker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import surgsam2
from surgsam2 import PromptSet
from surgsam2.data import generate_clip
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.cpu import matmul
from surgsam2.model.cpu.backend import CpuBackend
from surgsam2.model.cpu.parallel import (
    ENCODERS,
    ObjectPool,
    map_objects,
    pause_for_objects,
)
from surgsam2.model.network import SurgSAM2Network
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking import video_tracking
from surgsam2.video import Video, open_video
from tests.model.helpers import sam2_modules

FRAMES, SIZE = 6, 96


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def a_model(demo_checkpoint: Path) -> SurgSAM2Model:
    return surgsam2.load_model(demo_checkpoint, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def a_clip() -> tuple[Video, PromptSet]:
    clip = generate_clip(5, FRAMES, (SIZE, SIZE), difficulty=0.2)
    frames, labels = zip(*(clip.frame(i) for i in range(FRAMES)), strict=True)
    prompts = PromptSet()
    for object_id in np.unique(labels[2])[1:]:
        prompts = prompts.add(object_id=int(object_id), frame=2, mask=labels[2] == object_id)
    return open_video(np.stack(frames)), prompts


def track(
    model: SurgSAM2Model, clip: tuple[Video, PromptSet], direction: str = "both"
) -> list[FrameResult]:
    video, prompts = clip
    return list(
        surgsam2.segment_video(model, video, prompts, direction=direction, allow_overlap=False)
    )


def ours() -> set[str]:
    names = (t.name for t in threading.enumerate())
    return {name for name in names if name.startswith(("surgsam2-encode", "surgsam2-object"))}


needs_cpu_backend = pytest.mark.skipif(
    not matmul.is_available(), reason="the CPU backend needs an x86 processor with AVX2"
)


@needs_cpu_backend
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_the_masks_are_those_of_one_thread(
    a_model: SurgSAM2Model,
    a_clip: tuple[Video, PromptSet],
    direction: str,
    request: pytest.FixtureRequest,
) -> None:
    alone = track(a_model, a_clip, direction)
    request.getfixturevalue("two_threads")
    beside = track(a_model, a_clip, direction)
    assert [r.frame_index for r in beside] == [r.frame_index for r in alone]
    for one, two in zip(alone, beside, strict=True):
        assert one.object_ids == two.object_ids
        assert (one.masks != two.masks).mean() < 1e-3


@needs_cpu_backend
@pytest.mark.usefixtures("two_threads")
def test_frames_are_encoded_beside_the_tracker_and_only_those_it_needs(
    a_model: SurgSAM2Model, a_clip: tuple[Video, PromptSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, seen = SurgSAM2Network.encode_image, []

    def watched(self: SurgSAM2Network, images: torch.Tensor) -> object:
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        return encode(self, images)

    monkeypatch.setattr(SurgSAM2Network, "encode_image", watched)
    track(a_model, a_clip, "forward")
    beside = [threads for name, threads in seen if name.startswith("surgsam2-encode")]
    assert beside == [1] * (FRAMES - 3)  # frame 2 is prompted, those before it have no object
    assert len(seen) == len(beside) + 1
    assert not ours()
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(
    not matmul.is_available(torch.bfloat16), reason="bfloat16 products need AVX-512"
)
@pytest.mark.usefixtures("two_threads")
def test_threads_compute_in_the_models_precision(
    demo_checkpoint: Path, a_clip: tuple[Video, PromptSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Autocast is a setting of a thread, so every thread has to enter it."""
    encode, seen = CpuBackend.encode_image, []

    def watched(self: CpuBackend, images: torch.Tensor) -> object:
        seen.append((threading.current_thread().name[:15], self.dtype))
        return encode(self, images)

    monkeypatch.setattr(CpuBackend, "encode_image", watched)
    track(surgsam2.load_model(demo_checkpoint, device="cpu", dtype="bfloat16"), a_clip, "forward")
    assert {dtype for _, dtype in seen} == {torch.bfloat16}
    assert "surgsam2-encode" in {name for name, _ in seen}


@needs_cpu_backend
@pytest.mark.usefixtures("two_threads")
def test_encoders_pause_while_every_core_has_an_object(a_model: SurgSAM2Model) -> None:
    begun, goes_on = threading.Barrier(3), threading.Event()

    def slow(x: int) -> torch.Tensor:
        if x < 2:
            begun.wait(10)
            assert goes_on.wait(10)
        return torch.tensor(x)

    with closing(a_model.encoder_pool()) as encoders:

        def track() -> list[torch.Tensor]:
            with torch.no_grad(), encoders.sharing_cores():
                return map_objects(slow, [0, 1, 2])

        with ThreadPoolExecutor(1) as tracker:
            tracked = tracker.submit(track)
            begun.wait(10)
            beside = encoders.submit(pause_for_objects)
            assert beside is not None
            with pytest.raises(TimeoutError):
                beside.result(0.1)
            goes_on.set()
            beside.result(10)
            assert [int(x) for x in tracked.result(10)] == [0, 1, 2]


@needs_cpu_backend
@pytest.mark.usefixtures("two_threads")
def test_encoders_continue_when_a_thread_is_idle_or_an_object_fails(a_model: SurgSAM2Model) -> None:
    encoded, beside = threading.Event(), []

    def last_waits_for_the_encoder(x: int) -> torch.Tensor:
        if x == 0:  # the pool is full now
            beside.append(encoders.submit(encode))
        assert x < 2 or encoded.wait(10)
        return torch.tensor(x)

    def fails(x: int) -> torch.Tensor:
        raise MemoryError(x)

    def encode() -> None:
        pause_for_objects()
        encoded.set()

    with closing(a_model.encoder_pool()) as encoders, torch.no_grad(), encoders.sharing_cores():
        map_objects(last_waits_for_the_encoder, [0, 1, 2])
        assert beside[0] is not None
        with pytest.raises(MemoryError):
            map_objects(fails, [0, 1])
        again = encoders.submit(pause_for_objects)
        assert again is not None
        again.result(10)


@needs_cpu_backend
@pytest.mark.usefixtures("two_threads")
def test_masks_are_made_without_the_encoders_cores(
    a_model: SurgSAM2Model, a_clip: tuple[Video, PromptSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, threads = video_tracking.make_result, []

    def watched(*args: Any) -> FrameResult:
        threads.append(torch.get_num_threads())
        return make(*args)

    monkeypatch.setattr(video_tracking, "make_result", watched)
    track(a_model, a_clip)
    assert threads == [1] * FRAMES


@needs_cpu_backend
@pytest.mark.usefixtures("two_threads")
def test_a_failed_encoding_is_tried_again_by_the_tracker(
    a_model: SurgSAM2Model, a_clip: tuple[Video, PromptSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = track(a_model, a_clip, "forward")
    encode = SurgSAM2Network.encode_image

    def fails_beside(self: SurgSAM2Network, images: torch.Tensor) -> object:
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError
        return encode(self, images)

    monkeypatch.setattr(SurgSAM2Network, "encode_image", fails_beside)
    for one, two in zip(expected, track(a_model, a_clip, "forward"), strict=True):
        assert (one.masks != two.masks).mean() < 1e-3


@pytest.mark.usefixtures("two_threads")
def test_stopping_early_ends_the_threads(
    a_model: SurgSAM2Model, a_clip: tuple[Video, PromptSet]
) -> None:
    video, prompts = a_clip
    results = surgsam2.segment_video(a_model, video, prompts)
    next(iter(results))
    results.close()
    assert not ours()
    assert torch.get_num_threads() == 2


def test_one_core_has_no_threads_beside(a_model: SurgSAM2Model) -> None:
    assert torch.get_num_threads() == 1  # see conftest.py
    with closing(a_model.encoder_pool()) as encoders, encoders.sharing_cores():
        assert encoders.submit(lambda: None) is None
        assert not ours()


@pytest.mark.usefixtures("two_threads")
def test_sam2s_modules_have_no_threads_beside(
    a_model: SurgSAM2Model, demo_checkpoint: Path
) -> None:
    with sam2_modules(), closing(a_model.encoder_pool()) as encoders:
        assert encoders.submit(lambda: None) is None
    low = surgsam2.load_model(demo_checkpoint, device="cpu", dtype="float16")
    with closing(low.encoder_pool()) as encoders:
        assert encoders.submit(lambda: None) is None


@needs_cpu_backend
@pytest.mark.usefixtures("two_threads")
def test_threads_begun_later_have_all_cores(a_model: SurgSAM2Model) -> None:
    counts = []
    with closing(a_model.encoder_pool()) as encoders, encoders.sharing_cores():
        inside = torch.get_num_threads()
    with closing(a_model.encoder_pool()):
        late = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
        late.start()
        late.join()
    assert inside == 2 // ENCODERS
    assert counts == [2]


@needs_cpu_backend
@pytest.mark.usefixtures("two_threads")
def test_objects_keep_their_order_and_share_cores_if_there_are_enough(
    a_model: SurgSAM2Model,
) -> None:
    def square(x: int) -> torch.Tensor:
        names.add(threading.current_thread().name)
        assert not torch.is_grad_enabled()
        return torch.tensor(float(x * x))

    for items, elsewhere in (([1], False), ([1, 2, 3], True)):
        names: set[str] = set()
        with torch.no_grad(), closing(a_model.encoder_pool()) as encoders, encoders.sharing_cores():
            assert [float(y) for y in map_objects(square, items)] == [x * x for x in items]
        assert all(n.startswith("surgsam2-object") for n in names) is elsewhere


def test_exceptions_of_an_object_are_raised() -> None:
    def fails(x: int) -> torch.Tensor:
        raise MemoryError(x)

    with ThreadPoolExecutor(1) as pool, ObjectPool(pool, 1).activated(), pytest.raises(MemoryError):
        map_objects(fails, [1, 2])
