"""Ways to damage bytes and values; all chance comes from the `Random` that is given."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

ODD_NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 0.5, -0.5, 2**31 - 1, 2**31, 2**63, 10**30, 1e308, math.inf, -math.inf, math.nan,
    -0.0, 65535, 65536, 1e-300, True,
)  # fmt: skip
ODD_TEXTS = (
    "", " ", "a" * 300, "\x00", "\n", "../x.png", "/etc/passwd", "C:\\x", "mask.png", "é", "\ud800",
    "$__import__('os')", "@model", "#ff0000", "null", "1", "NaN", "..", ".", "\u202e",
)  # fmt: skip


def odd_value(random: Random, depth: int = 0) -> Any:
    """Any JSON value, mostly unwelcome ones."""
    makers: list[Callable[[], Any]] = [
        lambda: random.choice(ODD_NUMBERS),
        lambda: random.choice(ODD_TEXTS),
        lambda: random.choice([None, True, False]),
        lambda: random.uniform(-100, 100),
        lambda: [odd_value(random, depth + 1) for _ in range(random.randrange(4))],
        lambda: {random.choice(ODD_TEXTS): odd_value(random, depth + 1) for _ in range(2)},
        lambda: [[random.uniform(0, 90), random.uniform(0, 70), random.choice([0, 1])]],
    ]
    return random.choice(makers if depth < 3 else makers[:4])()


def change_somewhere(value: Any, random: Random) -> Any:
    """A copy of nested lists and dictionaries with one thing changed, added, lost or doubled."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        copy = dict(value)
        choice = random.random()
        if choice < 0.08:
            del copy[key]
        elif choice < 0.16:
            copy[random.choice((*ODD_TEXTS, key.upper(), key + "s"))] = copy.pop(key)
        else:
            copy[key] = change_somewhere(value[key], random)
        return copy
    if isinstance(value, list) and value and random.random() < 0.85:
        at = random.randrange(len(value))
        choice = random.random()
        if choice < 0.08:
            return value[:at] + value[at + 1 :]
        if choice < 0.16:
            return value[:at] + [value[at]] * random.randrange(2, 5) + value[at:]
        return [*value[:at], change_somewhere(value[at], random), *value[at + 1 :]]
    return odd_value(random)


def damage(data: bytes, random: Random, other: bytes = b"") -> bytes:
    """One to four of: flipped bits, odd numbers, zeros, a cut, a loss, a copy, a foreign piece."""
    result = bytearray(data)
    for _ in range(random.randint(1, 4)):
        if not result:
            break
        at = random.randrange(len(result))
        # headers and indices, which lie at the ends, deserve more than their share
        if random.random() < 0.4:
            at = min(len(result) - 1, int(random.expovariate(1 / 60)))
        elif random.random() < 0.2:
            at = max(0, len(result) - 1 - int(random.expovariate(1 / 60)))
        size = min(len(result) - at, 1 + int(random.expovariate(1 / 20)))
        source = other or bytes(result)
        begin = random.randrange(len(source))
        foreign = source[begin : begin + size * random.randint(1, 30)]
        number = random.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
        begin, end, piece = random.choice(
            [
                (at, at + 1, bytes([result[at] ^ 1 << random.randrange(8)])),
                (at, at + size, bytes(b ^ random.randrange(256) for b in result[at : at + size])),
                (at, at + 4, struct.pack(random.choice("<>") + "I", number)),
                (at, at + size, bytes(size)),
                (at, len(result), b""),
                (at, at + size, b""),
                (at, at, bytes(result[at : at + size]) * random.randint(1, 3)),
                (at, at + size, foreign),
            ]
        )
        result[begin:end] = piece
    return bytes(result)


def damage_png(data: bytes, random: Random) -> bytes:
    """A PNG with one chunk changed and its checksum made right again, so that it is believed."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size]])
        at += 12 + size
    chunk = random.choice(chunks)
    if random.random() < 0.3:
        chunk = chunks[0]
    choice = random.random()
    if chunk[0] == b"IHDR" and choice < 0.7:
        sizes = [random.choice([0, 1, 96, 72, 5000, 65535, 2**31 - 1, 2**32 - 1]) for _ in "wh"]
        kinds = bytes(random.choice([0, 1, 2, 3, 4, 6, 8, 16, 255]) for _ in range(5))
        chunk[1] = struct.pack(">II", *sizes) + (chunk[1][8:] if choice < 0.3 else kinds)
    elif choice < 0.8:
        chunk[1] = damage(chunk[1] or b"\0", random)
    elif choice < 0.9:
        chunks.insert(random.randrange(len(chunks)), list(chunk))
    else:
        text = zlib.compress(bytes(random.randrange(1, 2**22)))
        chunks.insert(1, [random.choice([b"zTXt", b"iCCP"]), b"key\0\0" + text])
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return data[:8] + b"".join(parts)
