"""Whatever bytes arrive, they become a message or a clear refusal, never a crash."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgsam2 import PromptSet
from surgsam2.engine.protocol.events import (
    Failed,
    Finished,
    FrameRead,
    Previewed,
    Progress,
    Ready,
    Tracked,
)
from surgsam2.engine.protocol.fields import field_type, pack_masks, packed_size, unpack_masks
from surgsam2.engine.protocol.framing import (
    MAX_GREETING,
    MAX_HEADER,
    Packet,
    PacketDecoder,
    ProtocolError,
    encode_packet,
)
from surgsam2.engine.protocol.messages import (
    Hello,
    Message,
    MessageError,
    MessageStream,
    pack_message,
    unpack_message,
    wire_name,
)
from surgsam2.engine.protocol.payloads import InlinePayloads, Payloads, SharedMemoryPayloads
from surgsam2.engine.protocol.requests import (
    FROM_ENGINE,
    REQUESTS,
    TO_ENGINE,
    LivePrompts,
    LoadModel,
    Preview,
    Refine,
    Track,
)
from surgsam2.engine.server.main import Server
from surgsam2.engine.transport.connection import Connection, SocketChannel
from surgsam2.errors import InputError, PromptError
from surgsam2.model.options import ModelOptions
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
FIELDS = sorted({item.name for kind in TO_ENGINE for item in fields(kind)} | {"payload"})
HEADERS = st.dictionaries(st.sampled_from(FIELDS), PLAIN, max_size=8)
KINDS = {wire_name(kind) for kind in REQUESTS}
TYPES = st.sampled_from([wire_name(kind) for kind in TO_ENGINE] + ["released"]) | st.text()


def large_decoder() -> PacketDecoder:
    decoder = PacketDecoder()
    decoder.accept_large()
    return decoder


@given(
    st.lists(st.tuples(TYPES, HEADERS, st.lists(st.binary(max_size=50), max_size=3)), max_size=4),
    st.integers(1, 40),
)
def test_packets_arrive_as_sent_in_any_pieces(
    packets: list[tuple[str, dict[str, Any], list[bytes]]], piece: int
) -> None:
    data = b"".join(encode_packet(*packet) for packet in packets)
    decoder, received = large_decoder(), []
    for start in range(0, len(data), piece):
        decoder.feed(data[start : start + piece])
        received += decoder.packets()
    assert [(p.kind, p.blobs) for p in received] == [(t, tuple(b)) for t, _, b in packets]
    for packet, (_, header, _) in zip(received, packets, strict=True):
        assert {k: v for k, v in packet.header.items() if k not in ("type", "blobs")} == header


@given(st.binary(max_size=200))
def test_any_bytes_are_packets_or_refused(data: bytes) -> None:
    decoder = large_decoder()
    decoder.feed(data)
    received: list[Packet] = []
    with contextlib.suppress(ProtocolError):
        received += decoder.packets()
    assert all(isinstance(packet.header, dict) for packet in received)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((MAX_HEADER + 1).to_bytes(4, "big"), "a header of 1048577 bytes"),
        (b"\0\0\0\2[]", "must be a JSON object"),
        (b"\0\0\0\2xx", "is not JSON"),
        (b'\0\0\0\x0a{"type":1}', "with a type"),
        (b'\0\0\0\x19{"type":"a","blobs":[-1]}', "list of lengths"),
        (b'\0\0\0\x1d{"type":"a","blobs":[1e3000]}', "list of lengths"),
        (b"\0\1\0\0" + b"[" * 65536, "is not JSON"),
        (b'\0\0\0\x22{"type":"a","blobs":[99999999999]}', "are announced"),
    ],
)
def test_what_is_refused(data: bytes, words: str) -> None:
    decoder = large_decoder()
    decoder.feed(data)
    with pytest.raises(ProtocolError, match=words):
        list(decoder.packets())


def test_a_stranger_cannot_send_much() -> None:
    """Before the token is checked, only a small header is accepted."""
    for data in (
        (MAX_GREETING + 1).to_bytes(4, "big"),
        encode_packet("hello", {}, [b"x"]),
    ):
        decoder = PacketDecoder()
        decoder.feed(data)
        with pytest.raises(ProtocolError, match="announced; at most"):
            list(decoder.packets())
    stream = MessageStream(InlinePayloads(), lambda slot: None)
    stream.feed(encode_packet("ready", {}))
    with pytest.raises(ProtocolError, match="unknown message 'ready'"):
        list(stream.messages())


def test_what_is_not_sent() -> None:
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for header in ({"x": float("nan")}, {"x": b""}, {"x": "y" * (MAX_HEADER + 1)}, {"x": deep}):
        with pytest.raises(ProtocolError):
            encode_packet("a", header)


class Mailbox:
    """Keeps what a server sends, in place of a connection."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: Message, unwanted: Any = None) -> bool:
        pack_message(message)
        self.sent.append(message)
        return True


@pytest.fixture(scope="module")
def no_models() -> Iterator[None]:
    """Options that are valid load nothing."""

    def refuse(options: ModelOptions) -> None:
        raise InputError("this test has no models")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelOptions, "load", refuse)
        yield


@pytest.mark.usefixtures("no_models")
@given(st.lists(st.tuples(TYPES, HEADERS, st.lists(st.binary(max_size=50), max_size=3))))
def test_every_request_ends_once(packets: list[tuple[str, dict[str, Any], list[bytes]]]) -> None:
    """The real server and engine, without model and video, get any messages."""
    box = Mailbox()
    server = Server(box.send)
    engine = server.load_engine()
    box.sent.clear()
    stream = MessageStream(InlinePayloads(), lambda slot: None)
    stream.accept(TO_ENGINE)
    numbers = []
    for count, (kind, header, blobs) in enumerate(packets):
        if kind in KINDS:
            header["request"] = count
            numbers.append(count)
        stream.feed(encode_packet(kind, header, blobs))
        try:
            for message in stream.messages():
                server.on_message(message)
        except MessageError as error:
            server.on_refused(error)
    for _ in numbers:
        if not server.requests.empty:
            engine.carry_out_next()
    ends = [message.request for message in box.sent if message.request in numbers]
    assert sorted(ends) == numbers
    assert all(isinstance(message, Failed | Finished) for message in box.sent)
    failures = [message for message in box.sent if isinstance(message, Failed)]
    assert all(failure.kind != "internal" for failure in failures)
    assert all("\n" not in failure.message for failure in failures)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (160, 120), (13, 8)])
def test_masks_survive(width: int, height: int) -> None:
    rng = np.random.default_rng(width)
    masks = rng.integers(0, 2, (3, height, width)).astype(bool)
    packed = pack_masks(masks)
    assert len(packed) == 3 * packed_size(height, width)
    assert np.array_equal(unpack_masks(packed, 3, height, width), masks)
    with pytest.raises(ProtocolError, match="cannot have"):
        unpack_masks(packed + b"x", 3, height, width)


def through(message: Message, payloads: Payloads | None = None) -> Any:
    """Return a message as the other side receives it."""
    carrier = payloads or InlinePayloads()
    sender = MessageStream(carrier, lambda slot: None)
    data = sender.encode(message, sender.window.try_acquire)
    assert data is not None
    read: list[int] = []
    receiver = MessageStream(carrier, read.append)
    receiver.accept([*TO_ENGINE, *FROM_ENGINE])
    receiver.feed(data)
    (received,) = receiver.messages()
    assert type(received) is type(message)
    assert len(read) == message.large
    return received


def test_prompts_survive() -> None:
    mask = np.zeros((5, 7), bool)
    mask[2, 3:] = True
    prompts = PromptSet().add(object_id=2, frame=3, points=[[1.25, 2, 1], [3, 4, 0]], name="Tötö")
    prompts.add(object_id=2, frame=9, mask=mask).add(object_id=1, frame=3, box=[0, 1, 4.5, 5])
    options = TrackingOptions(direction="both", stop=9)
    received = through(Track(7, prompts, options))
    assert (received.request, received.prompts, received.options) == (7, prompts, options)
    assert through(Preview(1, 3, PromptSet())).prompts == PromptSet()


def test_options_and_points_survive() -> None:
    options = ModelOptions(model="a.pt", pruning="off", compile=True)
    assert through(LoadModel(3, options)) == LoadModel(3, options)
    mask = np.eye(5, 7, dtype=bool)
    received = through(Refine(1, 2, 3, mask, ((1.5, 2.0, 0.0),)))
    assert np.array_equal(received.mask, mask)
    assert received.points == ((1.5, 2.0, 0.0),)


def test_an_image_survives_behind_the_masks_of_prompts() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    prompts = PromptSet().add(object_id=2, frame=9, mask=np.ones((5, 7), bool))
    received = through(LivePrompts(1, prompts, image))
    assert np.array_equal(received.image, image)
    assert received.prompts == prompts
    assert through(LivePrompts(1, prompts, None)).image is None


@pytest.mark.parametrize("shared", [False, True])
def test_results_survive(tmp_path: Path, shared: bool) -> None:
    payloads = SharedMemoryPayloads(tmp_path, "engine") if shared else None
    masks = np.zeros((2, 5, 7), bool)
    masks[1, 2:, 3] = True
    result = FrameResult(
        4, (3, 9), masks, np.array([0.25, 0.5], np.float32), np.array([1, 0], np.float32), 12.5
    )
    received = through(Tracked(1, result, 5, 18, 2.5), payloads)
    assert (received.done, received.total, received.fps) == (5, 18, 2.5)
    assert received.result.object_ids == (3, 9)
    assert np.array_equal(received.result.masks, masks)
    assert np.array_equal(received.result.iou_scores, result.iou_scores)
    assert np.array_equal(received.result.presence, result.presence)
    assert (received.result.frame_index, received.result.milliseconds) == (4, 12.5)
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    frame = through(FrameRead(1, 2, 0.5, image), payloads)
    assert np.array_equal(frame.image, image)
    frame.image[:] = 0  # the receiver may change it
    previewed = through(Previewed(1, 4, {3: masks[1]}, {3: 0.5}, {3: 1.0}))
    assert np.array_equal(previewed.masks[3], masks[1])
    assert (previewed.iou, previewed.presence) == ({3: 0.5}, {3: 1.0})


def test_a_result_without_objects_survives() -> None:
    none = np.zeros(0, np.float32)
    result = FrameResult(4, (), np.zeros((0, 5, 7), bool), none, none)
    packet = pack_message(Tracked(1, result, 5, 18, 2.5))
    assert unpack_message(packet, Tracked).result.masks.shape == (0, 5, 7)


@pytest.mark.parametrize(
    ("size", "blobs", "reason"),
    [
        ([None], [], r"must be \[height, width\] from 1 to 65536, got \[None\]"),
        ([1, "2"], [], r"must be \[height, width\]"),
        ([-1, -2], [], r"must be \[height, width\]"),
        ([1, 10**6], [], r"must be \[height, width\]"),
        ([True, 2], [], r"must be \[height, width\]"),
        ([1, 2], [], "raw bytes are missing"),
        ([1, 2], [b"12345"], "2x1 pixels cannot have 5 bytes"),
    ],
)
def test_an_image_that_is_not_complete(size: list[Any], blobs: list[bytes], reason: str) -> None:
    text = pack_message(Preview(1, 0, PromptSet())).blobs
    packet = Packet("live_prompts", {"request": 1, "prompts": [], "image": size}, (*text, *blobs))
    with pytest.raises(MessageError, match=reason):
        unpack_message(packet, LivePrompts)


def test_prompts_that_do_not_fit_their_masks() -> None:
    prompts = PromptSet().add(object_id=2, frame=9, mask=np.ones((5, 7), bool))
    good = pack_message(Preview(1, 9, prompts))
    without = good._replace(header={**good.header, "prompts": []})
    with pytest.raises(MessageError, match="there is no mask") as caught:
        unpack_message(without, Preview)
    assert isinstance(caught.value.__cause__, PromptError)
    for masks in ([["a", 7]], [["a", 6, 7]], [7], [["a", 5, 7], ["b", 5, 7]]):
        with pytest.raises(MessageError):
            unpack_message(good._replace(header={**good.header, "prompts": masks}), Preview)
    with pytest.raises(MessageError, match="UTF-8"):
        unpack_message(good._replace(blobs=(b"\xff", *good.blobs[1:])), Preview)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({}, "request must be int, got None"),
        ({"request": 1, "done": 1.5}, "done must be int"),
        ({"request": 1, "done": True}, "done must be int"),
        ({"request": 1, "done": 1, "total": 1, "fps": float("inf")}, "fps must be a finite"),
        ({"request": 1, "done": 1, "total": 1, "fps": "1"}, "fps must be float"),
    ],
)
def test_fields_that_are_refused(header: dict[str, Any], words: str) -> None:
    with pytest.raises(MessageError, match=words):
        unpack_message(Packet("progress", header), Progress)


def test_a_message_may_have_more_fields_and_fewer_optional_ones() -> None:
    header = {"request": 1, "done": 1, "total": 1, "fps": 1, "new": "x"}
    assert unpack_message(Packet("progress", header), Progress) == Progress(1, 1, 1, 1.0)
    header = {"request": 1, "kind": "track", "status": "complete"}
    assert unpack_message(Packet("finished", header), Finished).warnings == ()
    header["status"] = "odd"
    with pytest.raises(MessageError, match="status must be one of"):
        unpack_message(Packet("finished", header), Finished)


def test_every_field_of_every_message_can_travel() -> None:
    with pytest.raises(TypeError, match="cannot have a field of type"):
        field_type(list[int])
    kinds: tuple[type[Message], ...] = (*TO_ENGINE, *FROM_ENGINE, Hello)
    names = [wire_name(kind) for kind in kinds]
    assert len(set(names)) == len(names)
    for kind in kinds:
        with contextlib.suppress(MessageError):  # nothing but a refusal
            unpack_message(Packet(wire_name(kind), {}), kind)


def test_messages_that_arrive_together() -> None:
    """The first may be taken alone; the others need no further bytes to be found."""
    here, there = socket.socketpair()
    connection = Connection(SocketChannel(here), InlinePayloads())
    ready = {"python": "", "torch": "", "surgsam2": "", "pid": 1}
    failed = {"message": "", "kind": "input"}
    there.sendall(
        encode_packet("hello", {"token": "", "protocol": 1})
        + encode_packet("ready", ready)
        + encode_packet("failed", failed)
    )
    assert isinstance(next(connection.receive(), None), Hello)
    connection.accept(FROM_ENGINE)
    assert [type(message) for message in connection.receive()] == [Ready, Failed]
    there.close()
    connection.close()
