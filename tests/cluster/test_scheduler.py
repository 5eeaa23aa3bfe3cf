"""The order of the tasks, without any worker."""

from __future__ import annotations

from surgsam2.cluster.scheduler import KINDS, FreeWorker, Piece, Scheduler, parts_of


def test_long_videos_come_first_and_are_finished_before_others_begin() -> None:
    scheduler = Scheduler([1, 3, 2])
    assert scheduler.next_for(KINDS) == Piece(1)
    scheduler.tracked(Piece(1), 0.1)  # less is left of it than of the others, but it is begun
    assert scheduler.next_for(KINDS) == Piece(1)
    assert scheduler.next_for(KINDS) == Piece(2)
    assert scheduler.next_for(KINDS) == Piece(0)
    assert scheduler.next_for(KINDS) is None


def test_files_are_written_before_further_tracking() -> None:
    scheduler = Scheduler([1, 3])
    assert scheduler.next_for(("merge",)) is None
    assert scheduler.next_for(("track",)) == Piece(1)
    scheduler.tracked(Piece(1), 0)
    assert scheduler.next_for(("track",)) == Piece(0)
    scheduler.tracked(Piece(0), 0.5)
    assert scheduler.next_for(KINDS) == Piece(1)
    assert scheduler.videos[1].kind == "merge"
    scheduler.complete(1)
    assert not scheduler.finished
    scheduler.failed(0, "no frames")
    assert scheduler.finished


def test_a_video_that_ends_its_workers_is_quarantined() -> None:
    scheduler = Scheduler([1], retries=3)
    for _ in range(3):
        assert scheduler.next_for(KINDS) == Piece(0)
        scheduler.lost(Piece(0), "signal 11")
    assert scheduler.next_for(KINDS) == Piece(0)
    scheduler.released(Piece(0))  # a worker that was told to stop is no fault of the video
    assert scheduler.next_for(KINDS) == Piece(0)
    scheduler.lost(Piece(0), "signal 11")
    assert (scheduler.videos[0].state, scheduler.videos[0].error) == ("quarantined", "signal 11")
    assert scheduler.finished


def test_progress_forgives_lost_workers() -> None:
    scheduler = Scheduler([1], retries=1)
    for left in (0.8, 0.6, 0.4):
        assert scheduler.next_for(KINDS) == Piece(0)
        scheduler.lost(Piece(0), "the power failed")
        assert scheduler.next_for(KINDS) == Piece(0)
        scheduler.tracked(Piece(0), left)
    assert scheduler.videos[0].state == "waiting"


def test_a_slow_worker_passes_its_video_on() -> None:
    scheduler = Scheduler([5])
    slow, fast = FreeWorker(KINDS, 1.0), FreeWorker(KINDS, 9.0)
    assert scheduler.assign({"slow": slow}) == [("slow", Piece(0))]
    assert scheduler.assign({"fast": fast}) == []
    scheduler.tracked(Piece(0), 0.5)
    assert scheduler.assign({"slow": slow, "fast": fast}) == [("fast", Piece(0))]
    scheduler.tracked(Piece(0), 0.2)
    new = FreeWorker(KINDS)
    assert scheduler.assign({"slow": slow, "new": new}) == [("new", Piece(0))]


def test_parts_have_all_videos_once_and_about_the_same_length() -> None:
    sizes = [(37 * i) % 101 for i in range(1000)]
    parts = parts_of(sizes, 7)
    assert sorted(index for part in parts for index in part) == list(range(1000))
    loads = [sum(sizes[index] for index in part) for part in parts]
    assert max(loads) - min(loads) <= max(sizes)
    assert parts == parts_of(sizes, 7)
    assert parts_of([5.0], 3) == [[0], [], []]


def test_the_parts_of_a_video_run_side_by_side_and_are_joined_once() -> None:
    scheduler = Scheduler([4, 1])
    scheduler.divide(0, 2)
    taken = [scheduler.next_for(KINDS) for _ in range(4)]
    assert taken == [Piece(0, 0), Piece(0, 1), Piece(1), None]
    scheduler.tracked(Piece(0, 1), 0)
    assert scheduler.videos[0].state == "running"
    assert scheduler.next_for(KINDS) is None
    scheduler.lost(Piece(0, 0), "signal 9")
    assert scheduler.next_for(KINDS) == Piece(0, 0)
    scheduler.tracked(Piece(0, 0), 0)
    assert (scheduler.videos[0].kind, scheduler.videos[0].state) == ("merge", "waiting")
    assert scheduler.next_for(KINDS) == Piece(0)
    assert scheduler.next_for(KINDS) is None


def test_a_part_whose_last_chunk_is_not_complete_is_waited_for() -> None:
    scheduler = Scheduler([4])
    scheduler.divide(0, 2)
    assert [scheduler.next_for(KINDS) for _ in range(2)] == [Piece(0, 0), Piece(0, 1)]
    scheduler.videos[0].parts[1].left = 0  # its worker has reported the last frame
    scheduler.tracked(Piece(0, 0), 0)
    assert (scheduler.videos[0].kind, scheduler.videos[0].state) == ("track", "running")
    assert scheduler.next_for(KINDS) is None
    scheduler.tracked(Piece(0, 1), 0)
    assert scheduler.next_for(KINDS) == Piece(0)
    assert scheduler.videos[0].kind == "merge"


def test_a_video_that_failed_stays_so_whatever_its_other_parts_do() -> None:
    scheduler = Scheduler([4])
    scheduler.divide(0, 3)
    for _ in range(3):
        scheduler.next_for(KINDS)
    scheduler.failed(0, "no frames")
    scheduler.tracked(Piece(0, 0), 0.5)
    scheduler.lost(Piece(0, 1), "signal 9")
    scheduler.released(Piece(0, 2))
    assert scheduler.next_for(KINDS) is None
    assert (scheduler.videos[0].state, scheduler.videos[0].error) == ("failed", "no frames")
