"""Writing in a thread: order, failures and stops."""

from __future__ import annotations

import threading

import pytest

from surgsam2.job.behind import AHEAD, Behind


def test_calls_are_made_in_order_by_one_other_thread() -> None:
    calls: list[tuple[int, int]] = []
    with Behind(lambda k: calls.append((k, threading.get_ident()))) as behind:
        for k in range(50):
            behind.put(k)
    assert [k for k, _ in calls] == list(range(50))
    assert {thread for _, thread in calls} - {threading.get_ident()} != set()
    assert len({thread for _, thread in calls}) == 1


def test_only_so_many_wait() -> None:
    go, started = threading.Event(), threading.Event()
    calls: list[int] = []

    def slow(k: int) -> None:
        started.set()
        assert go.wait(60)
        calls.append(k)

    with Behind(slow) as behind:
        for k in range(AHEAD):
            behind.put(k)  # does not wait
        assert started.wait(60)
        assert calls == []
        go.set()
        behind.put(AHEAD)
        assert calls[0] == 0
        behind.drain()
        assert calls == list(range(AHEAD + 1))


def _fails_at(limit: int, calls: list[int]) -> Behind[[int]]:
    def write(k: int) -> None:
        if k == limit:
            raise OSError("disk full")
        calls.append(k)

    return Behind(write)


def test_a_failure_reaches_the_caller_and_nothing_follows_it() -> None:
    calls: list[int] = []
    with pytest.raises(OSError, match="disk full"), _fails_at(2, calls) as behind:
        for k in range(100):
            behind.put(k)
    assert calls == [0, 1]


@pytest.mark.parametrize("stop", [None, KeyboardInterrupt])
def test_a_failure_of_the_last_call_is_not_lost(stop: type[BaseException] | None) -> None:
    calls: list[int] = []
    with pytest.raises(OSError, match="disk full"), _fails_at(1, calls) as behind:
        behind.put(0)
        behind.put(1)
        if stop is not None:
            raise stop


def test_another_error_comes_first_and_what_was_put_is_written() -> None:
    calls: list[int] = []
    with pytest.raises(ValueError, match="network"), _fails_at(-1, calls) as behind:
        behind.put(0)
        behind.put(1)
        raise ValueError("network")
    assert calls == [0, 1]
