"""Pieces that arrive twice, or not at all, on one connection after another."""

from __future__ import annotations

import pytest

from surgsam2.engine.protocol.framing import Packet, PacketDecoder, ProtocolError
from surgsam2.engine.remote.reliable import MAX_UNACKNOWLEDGED, ReliableStream


def packets(data: bytes) -> list[Packet]:
    decoder = PacketDecoder()
    decoder.accept_large()
    decoder.feed(data)
    return list(decoder.packets())


def test_a_piece_that_is_replayed_counts_once() -> None:
    here, there = ReliableStream(), ReliableStream()
    (first,) = packets(here.send(b"one"))
    assert there.receive(first) == b"one"
    assert there.receive(first) is None
    (second,) = packets(here.send(b"two"))
    assert there.receive(second) == b"two"
    assert there.receive(first) is None
    assert there.received == 2


def test_what_was_lost_is_sent_again_and_nothing_else() -> None:
    here, there = ReliableStream(), ReliableStream()
    sent = [packets(here.send(bytes([n])))[0] for n in range(5)]
    there.receive(sent[0])
    there.receive(sent[1])
    again = packets(here.resume(there.received))
    assert [there.receive(packet) for packet in again] == [b"\2", b"\3", b"\4"]
    for packet in packets(there.acknowledgement()):
        here.receive(packet)
    assert here.unacknowledged == 0


def test_acknowledgements_of_pieces_that_were_never_sent_are_refused() -> None:
    here = ReliableStream()
    here.send(b"one")
    for received in (2, -1, None, True, "1"):
        with pytest.raises(ProtocolError, match="cannot have been received"):
            here.resume(received)  # type: ignore[arg-type]


def test_an_acknowledgement_that_arrives_late_changes_nothing() -> None:
    """It may have waited in a lost connection while the next one acknowledged more."""
    here, there = ReliableStream(), ReliableStream()
    sent = [packets(here.send(bytes([n])))[0] for n in range(3)]
    there.receive(sent[0])
    (late,) = packets(there.acknowledgement())
    there.receive(sent[1])
    here.resume(there.received)
    assert here.receive(late) is None
    assert [packet.header["number"] for packet in packets(here.resume(2))] == [3]
    assert here.unacknowledged == 1


def test_pieces_that_were_acknowledged_cannot_be_had_again() -> None:
    here = ReliableStream()
    here.send(b"one")
    here.send(b"two")
    for received in (1, 2):
        here.resume(received)
        with pytest.raises(ProtocolError, match=f"after {received - 1} are no longer kept"):
            here.resume(received - 1)


def test_what_waits_is_bounded() -> None:
    here = ReliableStream()
    here._kept_bytes = MAX_UNACKNOWLEDGED - 1
    here.send(b"1")
    with pytest.raises(ProtocolError, match="no more are kept"):
        here.send(b"2")
