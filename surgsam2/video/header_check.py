"""A check of MetaImage and NRRD headers before compiled code reads them.

The readers of these formats trust the header: numbers that do not fit each other end the
interpreter, a small compressed file can ask for gigabytes, and a header may name any file of the
machine as its pixels. So every field that has a say in how the pixels are read is checked first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NoReturn

from surgsam2.errors import VideoError
from surgsam2.storage.limits import ARCHIVE_RATIO, SEQUENCE_BYTES

_HEADER_BYTES = 65536
_LINE_BYTES = 4096
_MAX_AXES = 5
_SMALL = 64 * 2**20
"""Compressed pixels that unpack to this many bytes or fewer are never too many."""

_META_BYTES = {
    "met_char": 1, "met_uchar": 1, "met_short": 2, "met_ushort": 2, "met_int": 4, "met_uint": 4,
    "met_long": 8, "met_ulong": 8, "met_long_long": 8, "met_ulong_long": 8, "met_float": 4,
    "met_double": 8,
}  # fmt: skip
_META_PER_AXIS = (
    "offset",
    "position",
    "origin",
    "elementspacing",
    "centerofrotation",
    "elementsize",
)
_META_MATRICES = ("transformmatrix", "rotation", "orientation")
_META_FLAGS = (
    "binarydata", "binarydatabyteordermsb", "elementbyteordermsb", "compresseddata",
)  # fmt: skip
_NRRD_BYTES = {
    name: size
    for size, names in {
        1: "signed char, int8, int8_t, uchar, unsigned char, uint8, uint8_t",
        2: "short, short int, signed short, signed short int, int16, int16_t, ushort, "
        "unsigned short, unsigned short int, uint16, uint16_t",
        4: "int, signed int, int32, int32_t, uint, unsigned int, uint32, uint32_t, float",
        8: "longlong, long long, long long int, signed long long, signed long long int, int64, "
        "int64_t, ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t, double",
    }.items()
    for name in names.split(", ")
}
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
_NRRD_PER_AXIS = dict.fromkeys(
    ("spacings", "thicknesses", "axis mins", "axismins", "axis maxs", "axismaxs", "kinds",
     "centers", "centerings", "labels", "units"), _WORD,
) | {"space directions": re.compile(r"none|\([^()]*\)")}  # fmt: skip


def check_header(path: Path) -> None:
    """Refuse a MetaImage or NRRD header that cannot be right, or that leads outside its folder.

    Lists of data files are refused as well; a folder of images serves for one file per frame.

    Args:
        path: the header, or the file that begins with it; files of other formats pass.

    Raises:
        VideoError: the header is damaged, of a form that is not read, asks for more memory than
            `surgsam2.storage.limits` allows, names a file outside its folder, or there are fewer
            pixels than it declares.
    """
    check = {
        ".mha": _check_meta, ".mhd": _check_meta, ".nrrd": _check_nrrd, ".nhdr": _check_nrrd,
    }.get(path.suffix.lower())  # fmt: skip
    if check is None:
        return
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except OSError as error:
        raise VideoError(f"{path}: cannot be opened ({error.strerror})") from error
    check(path, head)


def _meta_fields(path: Path, head: bytes) -> tuple[dict[str, str], int]:
    """Return the fields of a MetaImage header by lower-case key, and where it ends."""
    fields: dict[str, str] = {}
    at = 0
    while "elementdatafile" not in fields:
        line, at = _line(path, head, at)
        parts = re.split("[=:]", line, maxsplit=1)
        if len(parts) == 2:
            fields[parts[0].strip().lower()] = parts[1].strip()
        elif line.strip():
            _damaged(path, f"the line {line[:60]!r} has no value")
    return fields, at


def _check_meta(path: Path, head: bytes) -> None:
    fields, at = _meta_fields(path, head)
    name = fields["elementdatafile"]
    axes = _whole(path, "NDims", fields.get("ndims"), 1, _MAX_AXES)
    sizes = _numbers(path, "DimSize", fields.get("dimsize"), axes)
    kind = fields.get("elementtype", "").lower().removesuffix("_array")
    if kind not in _META_BYTES:
        _damaged(path, f"its ElementType is {fields.get('elementtype', '')[:60]!r}")
    channels = _whole(
        path, "ElementNumberOfChannels", fields.get("elementnumberofchannels", "1"), 1, 4
    )
    _check_meta_flags(path, fields)
    for key in fields:
        if key in _META_PER_AXIS:
            _numbers(path, key, fields[key], axes, real=True)
        elif key in _META_MATRICES:
            _numbers(path, key, fields[key], axes * axes, real=True)
    start = _whole(path, "HeaderSize", fields.get("headersize", "0"), -1, 2**62)
    _whole(path, "CompressedDataSize", fields.get("compresseddatasize", "0"), 0, 2**62)
    is_local = name.upper() == "LOCAL"
    held = _data_bytes(path, None if is_local else name, at if is_local else max(start, 0))
    is_packed = fields.get("compresseddata", "false").lower() in ("true", "1")
    check_amount(path, math.prod(sizes) * _META_BYTES[kind] * channels, held, is_packed)


def _check_meta_flags(path: Path, fields: dict[str, str]) -> None:
    for key in _META_FLAGS:
        if fields.get(key, "true").lower() not in ("true", "false", "0", "1"):
            _damaged(path, f"{key} is {fields[key][:60]!r}, not True or False")
    if fields.get("binarydata", "true").lower() in ("false", "0"):
        _damaged(path, "its pixels are written as text, which is not read; save them as binary")


def _nrrd_fields(path: Path, head: bytes) -> tuple[dict[str, str], int]:
    """Return the fields of a NRRD header by lower-case key, and where it ends."""
    line, at = _line(path, head, 0)
    if not re.fullmatch(r"NRRD000[1-5]", line.strip()):
        _damaged(path, "it does not begin as a NRRD file does")
    fields: dict[str, str] = {}
    # A detached header may end without an empty line.
    while at < len(head) or path.suffix.lower() != ".nhdr":
        line, at = _line(path, head, at)
        if not line.strip():
            break
        if line.startswith("#") or ":=" in line:
            continue
        key, found, value = line.partition(":")
        if not found:
            _damaged(path, f"the line {line[:60]!r} has no value")
        fields[key.strip().lower()] = value.strip()
    return fields, at


def _check_nrrd(path: Path, head: bytes) -> None:
    fields, at = _nrrd_fields(path, head)
    axes = _whole(path, "dimension", fields.get("dimension"), 1, _MAX_AXES)
    sizes = _numbers(path, "sizes", fields.get("sizes"), axes)
    kind = fields.get("type", "").lower()
    if kind not in _NRRD_BYTES:
        _damaged(path, f"its type is {fields.get('type', '')[:60]!r}")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        _damaged(path, f"its encoding is {encoding[:60]!r}; save it as raw or gzip")
    if fields.get("endian", "little").lower() not in ("little", "big"):
        _damaged(path, f"its endian is {fields['endian'][:60]!r}")
    _whole(path, "space dimension", fields.get("space dimension", "3"), 1, _MAX_AXES)
    for key in ("line skip", "lineskip", "byte skip", "byteskip"):
        _whole(path, key, fields.get(key, "0"), 0, 0)
    for key, pattern in _NRRD_PER_AXIS.items():
        if key in fields and len(pattern.findall(fields[key])) != axes:
            _damaged(path, f"{key} does not have {axes} values")
    name = fields.get("data file", fields.get("datafile"))
    held = _data_bytes(path, name, at if name is None else 0)
    check_amount(path, math.prod(sizes) * _NRRD_BYTES[kind], held, encoding != "raw")


def _line(path: Path, head: bytes, at: int) -> tuple[str, int]:
    """Return the line that begins at a position, and the position after it."""
    end = head.find(b"\n", at)
    if end < 0:
        if len(head) < _HEADER_BYTES and at < len(head):
            end = len(head)
        else:
            raise VideoError(
                f"{path}: its header does not end within {min(len(head), _HEADER_BYTES)} bytes; "
                "the file is damaged or cut off"
            )
    if end - at > _LINE_BYTES:
        _damaged(path, f"a line has more than {_LINE_BYTES} bytes")
    line = head[at:end].removesuffix(b"\r")
    if b"\0" in line:
        _damaged(path, "a line holds a zero byte")
    return line.decode("utf-8", "surrogateescape"), end + 1


def _data_bytes(path: Path, name: str | None, start: int) -> int:
    """Return how many bytes of pixels there are.

    Args:
        path: the header.
        name: the data file that it names; None when the pixels follow the header.
        start: where the pixels begin in the file that has them.
    """
    if name is None:
        return path.stat().st_size - start
    if "%" in name or name.upper().startswith("LIST"):
        raise VideoError(f"{path}: its pixels are spread over several files; save it as one file")
    if not _lies_beside(path, name):
        raise VideoError(
            f"{path}: its header names the data file {name[:100]!r}, which is outside its "
            "folder; put the data file beside it, or save both as one file"
        )
    data = path.parent / name
    try:
        return data.stat().st_size - start if data.is_file() else 0
    except (OSError, ValueError):
        return 0


def check_amount(path: Path, declared: int, held: int, is_packed: bool) -> None:
    """Refuse a header that declares more pixels than there are, or than memory should hold.

    Args:
        path: the file, for messages.
        declared: how many bytes of pixels the header declares.
        held: how many bytes of pixels the file holds.
        is_packed: whether these are compressed.

    Raises:
        VideoError: the header declares too much.
    """
    if declared > SEQUENCE_BYTES.value:
        raise VideoError(
            f"{path}: its header declares {declared / 2**30:.0f} GiB of pixels; the file is "
            f"damaged, or convert it to a video file, or raise {SEQUENCE_BYTES.variable}"
        )
    if is_packed:
        if declared > max(_SMALL, held * ARCHIVE_RATIO.value):
            raise VideoError(
                f"{path}: {max(held, 0)} bytes of compressed pixels are declared to unpack to "
                f"{declared}; the file is damaged, or raise {ARCHIVE_RATIO.variable}"
            )
    elif declared > held:
        raise VideoError(
            f"{path}: its header declares {declared} bytes of pixels and {max(held, 0)} are there; "
            "the file is damaged or cut off"
        )


def _whole(path: Path, name: str, text: str | None, least: int, most: int) -> int:
    if text is None or not re.fullmatch(r"[+-]?\d{1,18}", text.strip()):
        _damaged(path, f"{name} is {(text or '')[:60]!r}, not a whole number")
    value = int(text)
    if not least <= value <= most:
        _damaged(path, f"{name} is {value}, which must be {least} to {most}")
    return value


def _numbers(
    path: Path, name: str, text: str | None, count: int, *, real: bool = False
) -> list[int]:
    """Return the whole numbers of a field; real ones are only checked."""
    parts = (text or "").split()
    if len(parts) != count:
        _damaged(path, f"{name} has {len(parts)} values, {count} are needed")
    read: Callable[[str], float] = float if real else int
    try:
        values = [read(part) for part in parts]
    except ValueError:
        _damaged(path, f"{name} is {(text or '')[:60]!r}")
    if real:
        if not all(map(math.isfinite, values)):
            _damaged(path, f"{name} is {(text or '')[:60]!r}")
        return []
    if not all(0 < value < 2**40 for value in values):
        _damaged(path, f"{name} is {(text or '')[:60]!r}")
    return [int(value) for value in values]


def _damaged(path: Path, reason: str) -> NoReturn:
    kind = "NRRD" if path.suffix.lower() in (".nrrd", ".nhdr") else "MetaImage"
    raise VideoError(
        f"{path}: cannot be read as {kind}: the file is damaged or of another kind ({reason}); "
        "export it again"
    )


def _lies_beside(header: Path, name: str) -> bool:
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or ".." in (*windows.parts, *PurePosixPath(name).parts):
        return False
    try:
        folder = header.parent.resolve()
        return (folder / name).resolve().is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):  # RuntimeError: a loop of links
        return False
