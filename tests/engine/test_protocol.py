"""Messages: whatever arrives, the answer is a message or a clear end, never a crash."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from surgsam2 import PromptSet
from surgsam2.engine.client.connection import Channel
from surgsam2.engine.protocol.messages import MAX_HEADER, Decoder, Message, ProtocolError, encode
from surgsam2.engine.protocol.serialization import (
    image_from_wire,
    mask_from_bytes,
    pack,
    packed_size,
    prompts_from_wire,
    prompts_to_wire,
    unpack,
)
from surgsam2.engine.server.engine import Engine
from surgsam2.engine.server.job_queue import KINDS
from surgsam2.engine.server.main import Server
from surgsam2.errors import PromptError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
FIELDS = (
    "request", "name", "options", "path", "width", "height", "block", "fps", "frame_count",
    "frame", "masks", "points", "object_id", "start", "stop", "direction", "non_overlap",
    "fill_holes", "image", "video", "slot", "problem", "live", "stamp", "index",
)  # fmt: skip
HEADERS = st.dictionaries(st.sampled_from(FIELDS), PLAIN, max_size=8)
TYPES = st.sampled_from([*sorted(KINDS), "cancel", "frame", "release", "live_frame"]) | st.text()


@given(
    st.lists(st.tuples(TYPES, HEADERS, st.lists(st.binary(max_size=50), max_size=3)), max_size=4),
    st.integers(1, 40),
)
def test_messages_arrive_as_sent_in_any_pieces(
    messages: list[tuple[str, dict[str, Any], list[bytes]]], piece: int
) -> None:
    data = b"".join(encode(*message) for message in messages)
    decoder, received = Decoder(), []
    for start in range(0, len(data), piece):
        decoder.feed(data[start : start + piece])
        received += decoder.messages()
    assert [(m.kind, m.blobs) for m in received] == [(t, tuple(b)) for t, _, b in messages]
    for message, (_, header, _) in zip(received, messages, strict=True):
        assert {k: v for k, v in message.header.items() if k not in ("type", "blobs")} == header


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_refused(data: bytes) -> None:
    decoder = Decoder()
    decoder.feed(data)
    received: list[Message] = []
    with contextlib.suppress(ProtocolError):
        received += decoder.messages()
    assert all(isinstance(message.header, dict) for message in received)


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
    decoder = Decoder()
    decoder.feed(data)
    with pytest.raises(ProtocolError, match=words):
        list(decoder.messages())


def test_what_is_not_sent() -> None:
    for header in ({"x": float("nan")}, {"x": b""}, {"x": "y" * (MAX_HEADER + 1)}):
        with pytest.raises(ProtocolError):
            encode("a", header)


class Mailbox:
    """In place of a connection."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def send(self, type_: str, header: dict[str, Any], blobs: Any = ()) -> None:
        encode(type_, header, blobs)
        self.sent.append((type_, header))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@given(st.lists(st.tuples(TYPES, HEADERS, st.lists(st.binary(max_size=50), max_size=3))))
@example([("live_prompts", {"image": [None]}, [])])
def test_any_message_gets_an_answer(
    folder: Path, messages: list[tuple[str, dict[str, Any], list[bytes]]]
) -> None:
    """The real server and engine, without model and video: every request ends exactly once."""
    box = Mailbox()
    server = Server(box, folder)  # type: ignore[arg-type]
    server._engine = Engine(box.send, server.jobs, folder)
    numbers = []
    for count, (type_, header, blobs) in enumerate(messages):
        if type_ in KINDS:
            header["request"] = count
            numbers.append(count)
        server.on_message(Message(type_, header, tuple(blobs)))
    for _ in numbers:
        server._engine.carry_out_next()
    ends = [header["request"] for _, header in box.sent if header["request"] is not None]
    assert sorted(n for n in ends if n in numbers) == numbers
    assert all(type_ in ("failed", "finished") for type_, _ in box.sent)
    internal = [h for t, h in box.sent if t == "failed" and h["kind"] == "internal"]
    assert not internal


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (160, 120), (13, 8)])
def test_masks_survive(width: int, height: int) -> None:
    rng = np.random.default_rng(width)
    masks = rng.integers(0, 2, (3, height, width)).astype(bool)
    packed = pack(masks)
    assert packed.shape == (3, packed_size(width, height))
    assert np.array_equal(unpack(packed, width, height), masks)
    assert np.array_equal(mask_from_bytes(packed[1].tobytes(), width, height), masks[1])
    with pytest.raises(ProtocolError, match="cannot have"):
        mask_from_bytes(packed[1].tobytes() + b"x", width, height)


def received(prompts: PromptSet) -> Message:
    header, blobs = prompts_to_wire(prompts)
    decoder = Decoder()
    decoder.feed(encode("track", header, blobs))
    return next(decoder.messages())


def test_an_image_survives_behind_the_masks() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    header = {"masks": [["a", 8, 1]], "image": [2, 3]}
    message = Message("live_prompts", header, (b"{}", b"m", image.tobytes()))
    found = image_from_wire(message)
    assert found is not None
    assert np.array_equal(found, image)
    assert image_from_wire(Message("live_prompts", {"masks": []}, (b"{}",))) is None


@pytest.mark.parametrize(
    ("size", "blobs", "reason"),
    [
        ([None], [], r"must be \[height, width\], got \[None\]"),
        ([1, "2"], [], r"must be \[height, width\]"),
        ([-1, -2], [], r"must be \[height, width\]"),
        ([1, 2], [], "raw bytes are missing"),
        ([1, 2], [b"12345"], "2x1 pixels cannot have 5 bytes"),
    ],
)
def test_an_image_that_is_not_complete(size: list[Any], blobs: list[bytes], reason: str) -> None:
    header = {"masks": [], "image": size}
    with pytest.raises(ProtocolError, match=reason):
        image_from_wire(Message("live_prompts", header, (b"{}", *blobs)))


def test_prompts_survive() -> None:
    mask = np.zeros((5, 7), bool)
    mask[2, 3:] = True
    prompts = PromptSet().add(object_id=2, frame=3, points=[[1.25, 2, 1], [3, 4, 0]], name="Tötö")
    prompts.add(object_id=2, frame=9, mask=mask).add(object_id=1, frame=3, box=[0, 1, 4.5, 5])
    assert prompts_from_wire(received(prompts)) == prompts
    assert prompts_from_wire(received(PromptSet())) == PromptSet()


def test_prompts_that_do_not_fit_their_masks() -> None:
    good = received(PromptSet().add(object_id=2, frame=9, mask=np.ones((5, 7), bool)))
    without = Message("track", {**good.header, "masks": []}, good.blobs)
    with pytest.raises(PromptError, match="there is no mask"):
        prompts_from_wire(without)
    for masks in ([["a", 7]], [["a", 7, 6]], [7], [["a", 7, 5], ["b", 7, 5]]):
        with pytest.raises(ProtocolError):
            prompts_from_wire(Message("track", {**good.header, "masks": masks}, good.blobs))
    with pytest.raises(PromptError, match="UTF-8"):
        prompts_from_wire(Message("track", good.header, (b"\xff", *good.blobs[1:])))


def test_messages_that_arrive_together() -> None:
    """The first may be taken alone; the others need no further bytes to be found."""
    here, there = socket.socketpair()
    channel = Channel(here)
    there.sendall(encode("hello", {}) + encode("ready", {}) + encode("failed", {}))
    first = next(channel.receive(), None)
    assert first is not None
    assert first.kind == "hello"
    assert [message.kind for message in channel.receive()] == ["ready", "failed"]
    there.close()
    channel.close()
