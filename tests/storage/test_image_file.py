"""Image files of strangers start no program, and a small file takes little time and memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, PngImagePlugin

from surgsam2 import load_prompts, open_video
from surgsam2.benchmark.agreement import compare_masks
from surgsam2.data import EndoVis17, EndoVis18, ImageDataset, VOSDataset
from surgsam2.data.endovis import read_instrument_mask
from surgsam2.data.label_reader import read_labels
from surgsam2.data.sequence import image_size, read_image, read_indexed
from surgsam2.errors import DatasetError, ImageFileError, InputError, SurgSAM2Error
from surgsam2.mrml.streaming.label_folder import LabelFolder
from surgsam2.results.saved_masks import open_saved_masks
from surgsam2.storage.image_file import (
    FRAME_FORMATS,
    JPEG_SCANS,
    LOSSLESS_FORMATS,
    image_header,
    read_pixels,
    read_rgb,
)
from surgsam2.storage.limits import MASK_PIXELS
from tests.conftest import REPOSITORY

SIZE = (32, 24)
"""Width and height of the images in these tests, in pixels."""
SECONDS = 5.0
"""Largest time for a refusal. It takes milliseconds; the rest is for a busy machine."""


# Every way by which a file of a stranger reaches a decoder; `path` is a .png file.


def _labels(path: Path) -> None:
    file = read_labels(path)
    if file.labels is None:
        raise InputError(file.message)


def _colour_of_saved_masks(path: Path) -> None:
    open_saved_masks(path.parent).color(1)


def _benchmark(path: Path) -> None:
    compare_masks(path.parent, path.parent)


def _label_folder(path: Path) -> None:
    LabelFolder(path.parent / "out", *SIZE)
    path.replace(path.parent / "out" / "masks" / "00000.png")
    LabelFolder(path.parent / "out", *SIZE).read(0)


def _prompts(path: Path) -> None:
    prompt = {"frame": 0, "mask": path.name}
    content = {"version": 1, "objects": [{"id": 1, "prompts": [prompt]}]}
    (path.parent / "prompts.json").write_text(json.dumps(content))
    load_prompts(path.parent / "prompts.json")


def _dataset(*places: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Read a dataset in which this is the first file and the others are valid."""

    def read(path: Path) -> None:
        root = path.parent / "dataset"
        for place in places:
            (root / place).parent.mkdir(parents=True)
            Image.new("L", SIZE, 1).save(root / place)
        path.replace(root / places[0])
        make(root)

    return read


CALLERS: dict[str, Callable[[Path], object]] = {
    "labels": _labels,
    "saved masks": lambda path: open_saved_masks(path.parent).check(*SIZE, 1),
    "their colours": _colour_of_saved_masks,
    "benchmark": _benchmark,
    "label folder": _label_folder,
    "prompts": _prompts,
    "indexed labels": read_indexed,
    "instrument mask": read_instrument_mask,
    "image of a dataset": read_image,
    "its size": image_size,
    "masks beside images": _dataset(
        "m/0.png", "i/0.png", make=lambda root: ImageDataset(root / "i", root / "m")
    ),
    "images beside masks": _dataset(
        "i/0.png", "m/0.png", make=lambda root: ImageDataset(root / "i", root / "m")
    ),
    "VOS": _dataset("Annotations/a/0.png", "JPEGImages/a/0.png", make=VOSDataset),
    "EndoVis 2017": _dataset(
        "instrument_dataset_1/ground_truth/Left_Other_labels/frame000.png",
        "instrument_dataset_1/left_frames/frame000.png",
        make=EndoVis17,
    ),
    "EndoVis 2018": _dataset(
        "seq_1/labels/frame000.png", "seq_1/left_frames/frame000.png", make=EndoVis18
    ),
    "video": lambda path: open_video(path)[0],
}
every_caller = pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS.keys())


def chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png(width: int, height: int, depth: int, colour: int, *more: bytes) -> bytes:
    """Return a PNG that declares a size and has nearly no pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = [chunk(b"PLTE", bytes(768))] if colour == 3 else []
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    parts = [chunk(b"IHDR", header), *palette, *more, pixels, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a file that appears when Ghostscript is started."""
    marker, programs = tmp_path / "STARTED", tmp_path / "programs"
    programs.mkdir()
    program = programs / "gs"
    program.write_text(f"#!/bin/sh\ntouch '{marker}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(
        EpsImagePlugin, "gs_binary", None, raising=False
    )  # Pillow searches for it once
    return marker


@pytest.fixture
def a_place(tmp_path: Path) -> Path:
    """Return the path for a file of a stranger."""
    (tmp_path / "given").mkdir()
    return tmp_path / "given" / "00000.png"


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_pillow_alone_would_start_it(ghostscript: Path, a_place: Path) -> None:
    Image.new("L", SIZE).save(a_place, "EPS")
    with Image.open(a_place) as image, contextlib.suppress(OSError):
        image.load()
    assert ghostscript.exists()


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
@every_caller
def test_postscript_with_the_name_of_a_png_starts_nothing(
    caller: Callable[[Path], object], ghostscript: Path, a_place: Path
) -> None:
    Image.new("L", SIZE).save(a_place, "EPS")
    with pytest.raises(SurgSAM2Error):
        caller(a_place)
    assert not ghostscript.exists()


@every_caller
@pytest.mark.parametrize(
    ("side", "depth", "colour"),
    [(60000, 8, 0), (60000, 8, 3), (60000, 16, 2), (16000, 16, 6), (12000, 1, 0)],
)
def test_a_png_of_few_bytes_and_many_pixels_is_refused_at_once(
    caller: Callable[[Path], object], a_place: Path, side: int, depth: int, colour: int
) -> None:
    a_place.write_bytes(png(side, side, depth, colour))
    start = time.perf_counter()
    with pytest.raises(
        SurgSAM2Error, match=r"pixels|unreadable"
    ):  # the reader of a dataset counts files
        caller(a_place)
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png(60000, 60000, 8, 0), "the header declares too many pixels"),
        (png(12000, 12000, 8, 0), "12000x12000 pixels, more than 16384 a side or 67108864 in all"),
        (png(17000, 2, 8, 0), "17000x2 pixels, more than 16384 a side"),
        (png(90, 90, 8, 0), "damaged image"),
        (png(90, 90, 16, 2), "damaged image"),
        (png(90, 90, 8, 0)[:20], "damaged image"),
        (b"GIF89a" + bytes(50), "not a PNG image, whatever its name says"),
        (b"", "the file is empty"),
    ],
)
def test_messages(a_place: Path, data: bytes, message: str) -> None:
    a_place.write_bytes(data)
    with pytest.raises(ImageFileError, match=rf"00000\.png: .*{message}"):
        read_pixels(a_place)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="cannot be opened; is it there"):
        read_pixels(tmp_path / "none.png")
    with pytest.raises(ImageFileError, match="not a file"):
        read_pixels(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageFileError, match="not a file"):
            read_pixels(tmp_path / "pipe.png")


def test_texts_and_profiles_that_unpack_to_much(a_place: Path) -> None:
    much = zlib.compress(bytes(2**26))
    for kind in (b"zTXt", b"iTXt", b"iCCP"):
        after = b"\0\1\0\0\0" if kind == b"iTXt" else b"\0\0"
        a_place.write_bytes(png(9, 9, 8, 0, chunk(kind, b"k" + after + much)))
        start = time.perf_counter()
        with pytest.raises(ImageFileError):
            read_pixels(a_place)
        assert time.perf_counter() - start < SECONDS


def test_a_jpeg_of_many_scans(tmp_path: Path) -> None:
    """A scan takes as long as an image and has ten bytes in the file."""
    buffer = io.BytesIO()
    Image.new("L", (4096, 4096)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    scan = bytes.fromhex("ffda0008010100000010")
    (tmp_path / "0.jpg").write_bytes(data[:-2] + scan * 100_000 + data[-2:])
    start = time.perf_counter()
    with pytest.raises(ImageFileError, match=f"more than {JPEG_SCANS} scans"):
        read_rgb(tmp_path / "0.jpg")
    assert time.perf_counter() - start < SECONDS


def tiff(*entries: tuple[int, int, int, int], rest: int = 0) -> bytes:
    """Return a TIFF with entries (tag, type, count, value or offset), and zeros after them."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + bytes(4 + rest)


def grey_tiff(*more: tuple[int, int, int, int], rest: int = 0) -> bytes:
    """Return the entries of a grey TIFF of 9 x 9 pixels."""
    tags = {256: 9, 257: 9, 258: 8, 259: 1, 262: 1, 277: 1}
    return tiff(*((tag, 4, 1, value) for tag, value in tags.items()), *more, rest=rest)


def exif_segment() -> bytes:
    """Return 64 kB of EXIF whose entries refer to the same 30 kB, and which become 75 MB."""
    entries = [(1000 + i, 7, 30_000, 30_100) for i in range(2500)]
    content = b"Exif\0\0" + tiff(*entries, rest=30_100)
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def memory_of(path: Path) -> int:
    """Return the largest memory of Python's objects while an image was read, in bytes."""
    code = (
        "import sys, tracemalloc, warnings; from pathlib import Path\n"
        "warnings.simplefilter('ignore')\n"
        "from surgsam2.errors import ImageFileError\n"
        "from surgsam2.storage.image_file import read_rgb\n"
        "tracemalloc.start()\n"
        "try:\n    read_rgb(Path(sys.argv[1]))\n"
        "except ImageFileError:\n    pass\n"
        "print(tracemalloc.get_traced_memory()[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_only_what_is_needed_of_a_jpeg_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metadata is in a segment that Pillow does not skip, or in a file without pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, (9, 99, 199)).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    exif = exif_segment()
    hidden = [
        b"\xff" + kind + b"\xff\xff" + exif[:40_000].ljust(65_533) for kind in (b"\xf0", b"\xc8")
    ]
    seen: list[bytes] = []
    opened = Image.open

    def note(stream: io.BytesIO, **options: object) -> Image.Image:
        seen.append(stream.read())
        return opened(stream, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", note)
    for extra in (exif, *hidden):
        (tmp_path / "0.jpg").write_bytes(jpeg[:2] + extra + jpeg[2:])
        assert abs(read_rgb(tmp_path / "0.jpg").astype(int) - (9, 99, 199)).max() < 4
    assert len(seen) == 3
    for bad in (jpeg[:2] + exif, jpeg[:2] + b"\xff\xdb\0\0" + exif + jpeg[2:]):
        (tmp_path / "0.jpg").write_bytes(bad)
        with pytest.raises(ImageFileError):
            read_rgb(tmp_path / "0.jpg")
    assert not any(b"Exif" in data for data in seen)


def test_directories_that_name_the_same_bytes_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some releases of Pillow keep a copy of them for every entry, 4 GB for this TIFF."""
    overlapping = [(1000 + i, 7, 200_000, 200_000) for i in range(10_000)]
    (tmp_path / "0.tif").write_bytes(
        grey_tiff((273, 4, 1, 200_000), (279, 4, 1, 81), *overlapping, rest=400_000)
    )
    buffer = io.BytesIO()
    Image.new("RGB", SIZE).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    (tmp_path / "0.jpg").write_bytes(jpeg[:2] + exif_segment() + jpeg[2:])
    assert memory_of(tmp_path / "0.tif") < 30e6
    assert memory_of(tmp_path / "0.jpg") < 10e6


def test_a_tiff_with_a_tile_larger_than_a_picture_may_be(tmp_path: Path) -> None:
    tile = [(322, 4, 1, 40_000), (323, 4, 1, 40_000), (324, 4, 1, 300), (325, 4, 1, 81)]
    (tmp_path / "0.tif").write_bytes(grey_tiff(*tile, rest=400))
    with pytest.raises(ImageFileError, match="its tiles have more than 67108864 pixels"):
        read_rgb(tmp_path / "0.tif")
    tile[0] = (322, 7, 4, 0)  # Python would repeat these bytes
    (tmp_path / "0.tif").write_bytes(grey_tiff(*tile, rest=400))
    assert memory_of(tmp_path / "0.tif") < 10e6


def test_a_deep_png_with_two_headers(a_place: Path) -> None:
    """OpenCV would decode the first header and Pillow the last."""
    small = struct.pack(">IIBBBBB", 9, 9, 16, 2, 0, 0, 0)
    a_place.write_bytes(png(20_000, 20_000, 16, 2, chunk(b"IHDR", small)))
    with pytest.raises(ImageFileError, match="damaged image"):
        read_pixels(a_place)


def test_a_form_that_takes_long_to_decode(tmp_path: Path) -> None:
    """A line of this run-length BMP takes four bytes."""
    side, lines = 8192, b"\1\0\0\0" * 8192 + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(lines), 0, 0, 256, 0)
    offset = 14 + len(header) + 1024
    start = b"BM" + struct.pack("<IHHI", offset + len(lines), 0, 0, offset)
    (tmp_path / "0.bmp").write_bytes(start + header + bytes(1024) + lines)
    with pytest.raises(ImageFileError, match="takes long to read; save it as PNG"):
        read_rgb(tmp_path / "0.bmp")


def test_a_label_image_of_too_many_objects(a_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader makes a mask for each value."""
    Image.fromarray(np.arange(100, dtype=np.uint16).reshape(10, 10)).save(a_place)
    assert len(open_saved_masks(a_place.parent).read(0)) == 99
    monkeypatch.setenv(MASK_PIXELS.variable, "9800")
    with pytest.raises(InputError, match="masks of its 99 objects have more than 9800 pixels"):
        open_saved_masks(a_place.parent).check(10, 10, 1)


# valid files


@pytest.mark.parametrize("kind", FRAME_FORMATS)
def test_frames_are_those_of_pillow(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "0"
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(picture).save(path, kind)
    with Image.open(path) as image:
        expected = np.asarray(image)
    frame = read_rgb(path)
    assert np.array_equal(frame, expected)
    assert frame.flags.c_contiguous
    assert frame.flags.writeable
    header = image_header(path)
    assert (header.format, header.width, header.height) == (kind, 32, 24)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_metadata_has_the_same_pixels(
    tmp_path: Path, mode: str, progressive: bool
) -> None:
    path = tmp_path / "0.jpg"
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6  # the image is to be rotated by 90 degrees
    image = Image.fromarray(picture).convert(mode)
    image.save(
        path, exif=exif, icc_profile=bytes(100_000), comment=b"\xff\xd9", progressive=progressive
    )
    path.write_bytes(path.read_bytes() + b"\xff\xda and what a telephone adds" * 200)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(read_rgb(path), expected)
    if mode != "CMYK":  # OpenCV converts CMYK in another way
        assert np.array_equal(read_rgb(path, with_opencv=True), expected)


def test_a_jpeg_with_junk_between_its_segments(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, (9, 99, 199)).save(buffer, "JPEG")
    data = buffer.getvalue()
    (tmp_path / "0.jpg").write_bytes(
        data[:2] + b"\xff\xff\xff" + data[3:20] + b"\xff\0a" + data[20:]
    )
    assert abs(read_rgb(tmp_path / "0.jpg").astype(int) - (9, 99, 199)).max() < 4
    for cut in (2, 3, 10, 40, len(data) // 2):
        (tmp_path / "0.jpg").write_bytes(data[:cut])
        with pytest.raises(ImageFileError):
            read_rgb(tmp_path / "0.jpg")


def test_pixels_as_they_are_stored(tmp_path: Path) -> None:
    labels = np.arange(768, dtype=np.uint16).reshape(24, 32)
    small = (labels % 256).astype(np.uint8)
    palette = Image.fromarray(small)
    palette.putpalette(bytes(range(256)) * 3)
    images = {
        "L": Image.fromarray(small),
        "P": palette,
        "I;16": Image.fromarray(labels),
        "1": Image.fromarray(small > 9),
        "RGB": Image.fromarray(np.dstack([small] * 3)),
        "LA": Image.fromarray(np.dstack([small] * 2)),
    }
    for mode, image in images.items():
        image.save(tmp_path / "a.png")
        stored = read_pixels(tmp_path / "a.png")
        assert stored.mode in (mode, "I" if mode == "I;16" else mode)  # Pillow before 10.3 has I
        assert np.array_equal(stored.values, np.asarray(image))
        assert stored.palette == (bytes(range(256)) * 3 if mode == "P" else b"")
    for mode, channels in (("RGB;16", 3), ("RGBA;16", 4)):
        deep = np.dstack([labels + 256 * i for i in range(channels)]).astype(np.uint16)
        assert cv2.imwrite(str(tmp_path / "a.png"), deep[..., [2, 1, 0, 3][:channels]])
        stored = read_pixels(tmp_path / "a.png")
        assert stored.mode == mode
        assert np.array_equal(stored.values, deep)


def test_a_transparent_mask_of_sixteen_bits(tmp_path: Path) -> None:
    mask = np.zeros((24, 32, 4), np.uint16)
    mask[2:9, 3:7] = (1, 1, 1, 1)
    mask[12:15, 3:7, :3] = 1
    assert cv2.imwrite(str(tmp_path / "m.png"), mask)
    content = {"version": 1, "objects": [{"id": 1, "prompts": [{"frame": 0, "mask": "m.png"}]}]}
    (tmp_path / "prompts.json").write_text(json.dumps(content))
    (prompt,) = next(iter(load_prompts(tmp_path / "prompts.json"))).prompts
    assert np.array_equal(prompt.mask, mask[..., 3] > 0)


def test_labels_of_datasets_are_lossless(tmp_path: Path) -> None:
    labels = np.zeros((24, 32), np.uint8)
    labels[4:9, 5:9] = 3
    for kind in LOSSLESS_FORMATS:
        Image.fromarray(labels).save(tmp_path / "a", kind)
        assert np.array_equal(read_indexed(tmp_path / "a"), labels)
        assert np.array_equal(read_instrument_mask(tmp_path / "a"), labels > 0)
    Image.fromarray(labels).save(tmp_path / "a", "JPEG")
    with pytest.raises(DatasetError, match="not a PNG, BMP or TIFF image"):
        read_indexed(tmp_path / "a")


def test_a_png_with_text_of_its_own(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 10_000, zip=True)
    Image.new("L", SIZE, 3).save(tmp_path / "a.png", pnginfo=text)
    assert (read_pixels(tmp_path / "a.png").values == 3).all()


def test_pillow_and_opencv_are_called_nowhere_else() -> None:
    """The linter forbids other readers; this shows what its rule finds."""
    code = "import cv2\nfrom PIL import Image\n\nImage.open(1)\ncv2.imread(2)\ncv2.imdecode(3)\n"

    def found(file: str) -> int:
        command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--stdin-filename", file]
        done = subprocess.run(
            [*command, "--select", "TID251", "--output-format", "concise", "-"],
            cwd=REPOSITORY, input=code, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout.count("TID251")

    assert found("surgsam2/video/images.py") == 3
    assert found("SurgSAM2Extension/SurgSAM2/SurgSAM2.py") == 3
    assert found("surgsam2/storage/image_file.py") == 0
