"""Parts of the benchmark: clocks, counts of operations, prompts and comparisons of masks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from surgsam2.benchmark import arithmetic
from surgsam2.benchmark.agreement import compare_masks
from surgsam2.benchmark.arithmetic import count_flops
from surgsam2.benchmark.clip import make_prompts, write_clip
from surgsam2.benchmark.clocks import FrameClock, StageClock
from surgsam2.errors import OutputError
from surgsam2.model.cpu import matmul
from surgsam2.video import open_video


class ASlowThing:
    def work(self, seconds: float) -> str:
        time.sleep(seconds)
        return "done"


def test_times_of_a_frame_add_up_and_loading_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    wall = iter([0.0, 4.0, 5.0, 7.0, 8.0, 10.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(time, "process_time", lambda: 0.0)
    clock = FrameClock()
    clock.share()
    for index in (0, 1, 0, 1):
        clock.frame(index)
    assert clock.milliseconds(first=0, last=0)[0] == [4000.0, 6000.0]
    assert clock.milliseconds(first=1, last=0)[0] == [6000.0]
    assert clock.milliseconds(first=0, last=1)[0] == [4000.0]


def test_watched_calls_are_timed() -> None:
    waits: list[int] = []
    clock, thing = StageClock(lambda: waits.append(1)), ASlowThing()
    clock.watch(thing, "work", "working")
    assert thing.work(0.02) == "done"
    assert clock.milliseconds(frames=1)["working"] >= 20
    assert len(waits) == 2
    clock.reset()
    assert clock.milliseconds(frames=1) == {}


def test_every_product_is_counted() -> None:
    q = torch.randn(1, 2, 30, 8)
    x, weight = torch.randn(40, 16), torch.randn(24, 16)
    linear = 2 * 40 * 16 * 24
    attention = 2 * (2 * 2 * 30 * 30 * 8)
    with torch.no_grad():
        assert count_flops(lambda: F.linear(x, weight))[0] == linear
        assert count_flops(lambda: F.scaled_dot_product_attention(q, q, q))[0] == attention


@pytest.mark.skipif(not matmul.is_available(), reason="no oneDNN here")
@pytest.mark.parametrize("onednn", [True, False])
def test_products_of_the_network_are_counted(onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "prefers_onednn", lambda: onednn)
    x, weight = torch.randn(2, 20, 16), torch.randn(24, 16)
    with torch.no_grad():
        flops, answer = count_flops(lambda: matmul.linear(x, weight))
    assert flops == 2 * 40 * 16 * 24
    torch.testing.assert_close(answer, x @ weight.t())
    place = torch.ones(20, 24)
    with torch.no_grad():
        flops, _ = count_flops(lambda: matmul.add_linear(place, x[0], weight, weight[:, 0]))
    assert flops == 2 * 20 * 16 * 24


@pytest.mark.parametrize("objects", [1, 5, 16])
def test_prompts_do_not_overlap(objects: int) -> None:
    prompts = make_prompts(objects, (320, 200))
    masks = np.stack([obj.prompts[0].mask for obj in prompts])
    assert masks.shape == (objects, 200, 320)
    assert masks.any(axis=(1, 2)).all()
    assert masks.sum(axis=0).max() == 1


def test_a_clip_of_any_length(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", 35, (64, 48))
    with open_video(tmp_path / "clip.mp4") as video:
        assert (video.frame_count, video.width, video.height) == (35, 64, 48)


def labels(folder: Path, *pictures: np.ndarray) -> Path:
    folder.mkdir()
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{index:05d}.png")
    return folder


def test_masks_are_compared_object_by_object(tmp_path: Path) -> None:
    a = np.zeros((4, 4), np.uint8)
    a[0], a[1] = 1, 2
    b = a.copy()
    b[1, 2:] = 0
    empty = np.zeros_like(a)
    ours, theirs = labels(tmp_path / "a", a, empty), labels(tmp_path / "b", b, empty)
    compared = compare_masks(ours, theirs)
    assert compared == {"masks": 2, "lowest_iou": 0.5, "mean_iou": 0.75}


def test_other_frames_are_refused(tmp_path: Path) -> None:
    one = np.zeros((2, 2), np.uint8)
    with pytest.raises(OutputError, match="do not hold masks of the same frames"):
        compare_masks(labels(tmp_path / "a", one), labels(tmp_path / "b", one, one))


def test_rates_on_a_machine_that_had_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "_SECONDS", 0.0)
    monkeypatch.setattr(arithmetic, "_SIZE", 64)
    rates = arithmetic.matmul_rates(torch.device("cpu"), torch.float32)
    assert "torch.mm" in rates
    assert all(rate > 0 for rate in rates.values())
