"""MetaImage and NRRD headers: honest ones pass, others are refused before ITK reads them."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

import surgsam2
from surgsam2.errors import VideoError
from surgsam2.video.header_check import check_header

PIXELS = np.arange(3 * 6 * 8, dtype=np.uint8).reshape(3, 6, 8)
META = [
    "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
    "CompressedData = False", "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = 0 0 0",
    "CenterOfRotation = 0 0 0", "ElementSpacing = 1 1 1", "DimSize = 8 6 3",
    "ElementType = MET_UCHAR", "ElementDataFile = LOCAL",
]  # fmt: skip
NRRD = [
    "NRRD0004", "type: unsigned char", "dimension: 3", "sizes: 8 6 3", "encoding: raw",
    "kinds: domain domain domain", "space: left-posterior-superior",
    "space directions: (1,0,0) (0,1,0) (0,0,1)",
]  # fmt: skip


def written(folder: Path, suffix: str, lines: list[str]) -> Path:
    path = folder / f"video{suffix}"
    end = "\n" if suffix == ".mha" else "\n\n"
    path.write_bytes(("\n".join(lines) + end).encode() + PIXELS.tobytes())
    return path


def changed(lines: list[str], key: str, value: str) -> list[str]:
    """Return a header whose line that begins with `key` is another."""
    assert any(line.startswith(key) for line in lines)
    separator = " = " if lines is META else ": "
    return [f"{key}{separator}{value}" if line.startswith(key) else line for line in lines]


@pytest.mark.parametrize(("suffix", "lines"), [(".mha", META), (".nrrd", NRRD)])
def test_honest_headers_pass(tmp_path: Path, suffix: str, lines: list[str]) -> None:
    with surgsam2.open_video(written(tmp_path, suffix, lines)) as video:
        assert np.array_equal(video[1][:, :, 0], PIXELS[1])


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_what_itk_writes_passes(tmp_path: Path, suffix: str, compressed: bool, dtype: type) -> None:
    path = tmp_path / f"video{suffix}"
    image = SimpleITK.GetImageFromArray(PIXELS.astype(dtype))
    SimpleITK.WriteImage(image, str(path), useCompression=compressed)
    check_header(path)
    with surgsam2.open_video(path) as video:
        assert video.frame_count == 3
        video[2]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NDims", "-1"), ("NDims", "0"), ("NDims", "99"), ("NDims", "three"), ("NDims", "2"),
        ("DimSize", "8 6"), ("DimSize", "8 6 -3"), ("DimSize", "8 6 0"), ("DimSize", "8 6 3.5"),
        ("DimSize", "99999999999999999999 6 3"), ("DimSize", "800 600 300"),
        ("ElementType", "MET_STRING"), ("ElementType", ""), ("BinaryData", "False"),
        ("BinaryData", "perhaps"), ("CompressedData", "2"), ("Offset", "0 0"),
        ("Offset", "0 nan 0"), ("Offset", "0 x 0"), ("TransformMatrix", "1 0 0"),
        ("ElementSpacing", "1 1 inf"), ("ElementDataFile", "/etc/passwd"),
        ("ElementDataFile", "../other.raw"), ("ElementDataFile", "LIST"),
        ("ElementDataFile", "a%03d.raw 1 3 1"), ("ElementDataFile", "missing.raw"),
        ("ObjectType", "x" * 5000), ("ObjectType", "x\0y"),
    ],
)  # fmt: skip
def test_meta_headers_that_are_refused(tmp_path: Path, key: str, value: str) -> None:
    path = written(tmp_path, ".mha", changed(META, key, value))
    with pytest.raises(VideoError) as refused:
        surgsam2.open_video(path)
    assert str(path) in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dimension", "-1"), ("dimension", "16"), ("dimension", "2"), ("sizes", "8 6"),
        ("sizes", "8 6 0"), ("sizes", "8 6 -3"), ("sizes", "99999999999 6 3"), ("type", "block"),
        ("type", ""), ("encoding", "ascii"), ("encoding", "hex"), ("encoding", "bzip2"),
        ("kinds", "domain"), ("space directions", "(1,0,0)"), ("NRRD0004", "x"),
    ],
)  # fmt: skip
def test_nrrd_headers_that_are_refused(tmp_path: Path, key: str, value: str) -> None:
    path = written(tmp_path, ".nrrd", changed(NRRD, key, value))
    with pytest.raises(VideoError) as refused:
        surgsam2.open_video(path)
    assert str(path) in str(refused.value)
    assert len(str(refused.value)) < 500


def test_small_files_that_unpack_to_gigabytes_are_refused(tmp_path: Path) -> None:
    lines = changed(changed(NRRD, "encoding", "gzip"), "sizes", "2000 2000 200")
    with pytest.raises(VideoError, match="are declared to unpack to 800000000"):
        surgsam2.open_video(written(tmp_path, ".nrrd", lines))


FUZZ = """
import sys
from pathlib import Path
import surgsam2
from surgsam2.errors import SurgSAM2Error
for path in sys.argv[1:]:
    print(path, flush=True)
    try:
        with surgsam2.open_video(path) as video:
            video[0], video[-1]
    except SurgSAM2Error:
        pass
"""


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return a header in which bytes, numbers or lines are other ones."""
    result = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(result) - PIXELS.size)
        what = chance.randrange(4)
        if what == 0:
            result[at] = chance.randrange(256)
        elif what == 1:
            del result[at : at + chance.randint(1, 20)]
        elif what == 2:
            result[at:at] = chance.choice([b"-1", b"0", b"999999999999", b" ", b"\n", b"nan"])
        else:
            result[at:at] = result[at : at + 30]
        if len(result) <= PIXELS.size + 2:
            break
    return bytes(result)


@pytest.mark.parametrize(("suffix", "lines"), [(".mha", META), (".nrrd", NRRD)])
def test_any_header_is_refused_in_words_or_read(
    tmp_path: Path, suffix: str, lines: list[str]
) -> None:
    """In a process of its own, which compiled code could end."""
    chance = random.Random(7)
    data = written(tmp_path, suffix, lines).read_bytes()
    paths = []
    for number in range(400):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(mutated(data, chance))
        paths.append(str(path))
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, *paths],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout.splitlines()[-1], done.stderr[-2000:])
