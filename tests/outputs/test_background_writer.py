"""Writing in a thread: order, failures and stops."""

from __future__ import annotations

import threading

import pytest

from surgsam2.outputs.background_writer import AHEAD, BackgroundWriter


class Disk:
    """Takes numbers; full at one of them."""

    def __init__(self, full_at: int | None = None) -> None:
        self.numbers: list[int] = []
        self.threads: set[int] = set()
        self._full_at = full_at

    def write(self, number: int) -> None:
        if number == self._full_at:
            raise OSError("disk full")
        self.numbers.append(number)
        self.threads.add(threading.get_ident())


def put_all(disk: Disk, count: int, end: BaseException | None = None) -> None:
    """Writes 0 to `count` - 1 behind, then ends the block with an error, if there is one."""
    with BackgroundWriter(disk.write) as behind:
        for number in range(count):
            behind.put(number)
        if end is not None:
            raise end


def test_calls_are_made_in_order_by_one_other_thread() -> None:
    disk = Disk()
    put_all(disk, 50)
    assert disk.numbers == list(range(50))
    assert len(disk.threads) == 1
    assert threading.get_ident() not in disk.threads


def test_only_so_many_wait() -> None:
    go, started = threading.Event(), threading.Event()
    disk = Disk()

    def when_allowed(number: int) -> None:
        started.set()
        assert go.wait(60)
        disk.write(number)

    with BackgroundWriter(when_allowed) as behind:
        for number in range(AHEAD):
            behind.put(number)  # does not wait
        assert started.wait(60)
        assert disk.numbers == []
        go.set()
        behind.put(AHEAD)
        assert disk.numbers[0] == 0
        behind.drain()
        assert disk.numbers == list(range(AHEAD + 1))


def test_a_failure_reaches_the_caller_and_nothing_follows_it() -> None:
    disk = Disk(full_at=2)
    with pytest.raises(OSError, match="disk full"):
        put_all(disk, 100)
    assert disk.numbers == [0, 1]


@pytest.mark.parametrize("end", [None, KeyboardInterrupt()])
def test_a_failure_of_the_last_call_is_not_lost(end: BaseException | None) -> None:
    with pytest.raises(OSError, match="disk full"):
        put_all(Disk(full_at=1), 2, end)


@pytest.mark.parametrize("end", [KeyboardInterrupt(), ValueError("network")])
def test_what_was_put_is_written_when_the_run_ends_early(end: BaseException) -> None:
    disk = Disk()
    with pytest.raises(type(end)):
        put_all(disk, 2, end)
    assert disk.numbers == [0, 1]


def test_the_first_cause_is_the_one_reported() -> None:
    with pytest.raises(ValueError, match="network"):
        put_all(Disk(full_at=1), 2, ValueError("network"))
