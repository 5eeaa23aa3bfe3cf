"""Graphs of functions of tensors, with a recorder for CPU tensors in CUDA's place."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from surgsam2.errors import DeviceError
from surgsam2.model.cuda.graphs import GraphCache
from tests.model.cuda.recorder import StrictRecorder

calls: list[tuple[int, ...]] = []


def double(x: torch.Tensor) -> list[torch.Tensor]:
    calls.append(tuple(x.shape))
    return [x * 2, x[:1]]


@pytest.fixture(autouse=True)
def no_calls_before() -> None:
    calls.clear()


def a_cache(recorder: StrictRecorder, **options: object) -> GraphCache:
    return GraphCache("doubling", recorder, **options)  # type: ignore[arg-type]


def test_a_shape_is_captured_when_it_comes_again() -> None:
    recorder = StrictRecorder()
    cache = a_cache(recorder)
    for value in (1.0, 2.0, 3.0, 4.0):
        outputs = cache.run(double, [torch.full((2,), value)], None)
        assert outputs[0].tolist() == [2 * value] * 2
        assert outputs[1].tolist() == [value]
    assert len(calls) == 3, "alone, then beside its capture, then no more"
    assert recorder.graphs[0].replays == 3, "one of them is the check of the capture"
    assert len(cache) == 1


def test_outputs_belong_to_the_caller() -> None:
    cache = a_cache(StrictRecorder())
    results = [cache.run(double, [torch.full((2,), float(v))], None)[0] for v in range(4)]
    assert [result[0].item() for result in results] == [0, 2, 4, 6]
    expanded = torch.ones(1).expand(3)
    for _ in range(3):  # a tensor whose values share memory cannot be written to
        assert cache.run(double, [expanded], None)[0].tolist() == [2, 2, 2]


def test_a_graph_made_in_inference_mode_serves_without_it() -> None:
    cache = a_cache(StrictRecorder())
    with torch.inference_mode():
        for _ in range(3):
            cache.run(double, [torch.ones(2)], None)
    calls.clear()
    with torch.no_grad():
        outputs = cache.run(double, [torch.full((2,), 5.0)], None)
    assert outputs[0].tolist() == [10, 10]
    assert calls == []
    assert not outputs[0].is_inference()


def test_shapes_types_and_settings_have_graphs_of_their_own() -> None:
    cache = a_cache(StrictRecorder())
    kinds = [
        (torch.ones(2), None),
        (torch.ones(3), None),
        (torch.ones(2, dtype=torch.float64), None),
        (torch.ones(2), "other"),
    ]
    for x, settings in kinds * 2:
        assert cache.run(double, [x], settings)[0].dtype == x.dtype
    assert len(cache) == 4


def test_the_number_of_graphs_is_bounded() -> None:
    cache = a_cache(StrictRecorder(), limit=2)
    for size in (1, 1, 2, 2, 1, 3, 3):  # 2 was not used for the longest time
        cache.run(double, [torch.ones(size)], None)
    assert len(cache) == 2
    calls.clear()
    cache.run(double, [torch.ones(1)], None)
    assert calls == []
    cache.run(double, [torch.ones(2)], None)
    assert calls == [(2,)]
    cache.clear()
    assert len(cache) == 0


def reads_a_value(x: torch.Tensor) -> list[torch.Tensor]:
    return [x * 2] if x.sum() > 0 else [x]


def stale(x: torch.Tensor) -> list[torch.Tensor]:
    """Its result hangs on the number of its calls, which a graph cannot know."""
    calls.append(tuple(x.shape))
    return [x * len(calls)]


@pytest.mark.parametrize(
    ("function", "recorder", "reason"),
    [
        (reads_a_value, StrictRecorder(), "not permitted while a graph is captured"),
        (stale, StrictRecorder(), "its values are not those of the step without a graph"),
        (
            double,
            StrictRecorder(torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB\nmore lines")),
            r"\(CUDA out of memory. Tried 2 GiB\)",
        ),
        (double, StrictRecorder(RuntimeError()), r"\(RuntimeError\)"),
    ],
)
def test_what_cannot_be_captured(
    function, recorder: StrictRecorder, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    x = torch.ones(2)
    cache = a_cache(recorder)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            outputs = cache.run(function, [x], None)
            assert outputs[0].tolist() == function(x)[0].tolist() or function is stale
    assert len(caplog.messages) == 1, "one warning, however many frames follow"
    assert caplog.messages[0].startswith("the doubling runs without a CUDA graph")
    assert len(cache) == 0
    calls.clear()
    required = a_cache(recorder, required=True)
    required.run(function, [x], None)
    with pytest.raises(DeviceError, match=rf"cuda_graphs=on: the doubling .*{reason}") as error:
        required.run(function, [x], None)
    assert "\n" not in str(error.value)


def test_uses_follow_each_other() -> None:
    """Every use, and nothing else, is in the recorder's order."""
    order: list[str] = []

    class Ordered(StrictRecorder):
        @contextmanager
        def in_order(self) -> Iterator[None]:  # type: ignore[override]
            order.append("begins")
            yield
            order.append("ends")

    cache = a_cache(Ordered())
    for _ in range(3):
        cache.run(double, [torch.ones(2)], None)
    assert order == ["begins", "ends"] * 3
