"""Archives that are made to do harm are refused, and ordinary archives are read."""

from __future__ import annotations

import stat
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from surgsam2.errors import InputError, OutputError
from surgsam2.storage.archive import open_archive, pack, unpacked
from surgsam2.storage.limits import ARCHIVE_BYTES, ARCHIVE_MEMBERS, ARCHIVE_RATIO

Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Write an archive of names or ZipInfo objects; each member contains ``bad``."""

    def make(*members: str | zipfile.ZipInfo) -> Path:
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for member in members:
                archive.writestr(member, b"bad")
        return path

    return make


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for temporary files, which must be empty at the end."""
    folder = tmp_path / "temporary" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def refusal(path: Path) -> str:
    """Return the message of the error that unpacking raises."""
    with pytest.raises(InputError, match=path.name) as caught, unpacked(path):
        pass
    message = str(caught.value)
    assert "\n" not in message
    return message


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def of_kind(kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("odd")
    info.external_attr = (kind | 0o644) << 16
    return info


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/tmp/escaped", "absolute name"),
        ("//server/share/escaped", "absolute name"),
        ("C:/escaped", "absolute name"),
        ("c:escaped", "absolute name"),
        ("../escaped", "leads to another folder"),
        ("../../escaped", "leads to another folder"),
        ("a/../../escaped", "leads to another folder"),
        ("a/..", "leads to another folder"),
        (".. /escaped", "leads to another folder"),
        ("a//b", "leads to another folder"),
        ("./a", "leads to another folder"),
        (" ", "leads to another folder"),
        ("..\\escaped", "a backslash or a control character"),
        ("a\\b", "a backslash or a control character"),
        ("a\x1b[31mb", "a backslash or a control character"),
        ("a\nb", "a backslash or a control character"),
        ("a/" * 40 + "b", "too long"),
        ("b" * 300, "too long"),
    ],
)
def test_names_stay_in_the_folder(
    made: Made, temporary: Path, tmp_path: Path, name: str, problem: str
) -> None:
    path = made("good", name)
    before = everything(tmp_path)
    message = refusal(path)
    assert problem in message
    assert repr(name[:200]) in message
    assert everything(tmp_path) == before


def test_a_name_that_ends_early(made: Made, temporary: Path) -> None:
    """Readers in C end a name at the zero byte."""
    path = made("a_/../b")
    path.write_bytes(path.read_bytes().replace(b"a_/", b"a\0/"))
    assert "'a\\x00/../b'" in refusal(path)


def test_a_name_in_an_extra_field(made: Made, temporary: Path) -> None:
    info = zipfile.ZipInfo("good")
    other = b"../escaped"
    info.extra = struct.pack("<HHBL", 0x7075, 5 + len(other), 1, zipfile.crc32(b"good")) + other
    path = made(info)
    with zipfile.ZipFile(path) as archive:
        replaced = archive.namelist() != ["good"]
    if replaced:  # Python 3.12 and newer
        assert "leads to another folder" in refusal(path)
    else:
        with unpacked(path) as folder:
            assert everything(folder) == {"good"}
    assert everything(temporary) == set()


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (stat.S_IFLNK, "is a link"),
        (stat.S_IFCHR, "is a device"),
        (stat.S_IFIFO, "a pipe"),
        (stat.S_IFSOCK, "a socket"),
    ],
)
@pytest.mark.parametrize("system", [0, 3])
def test_only_files_and_folders(
    made: Made, temporary: Path, kind: int, problem: str, system: int
) -> None:
    info = of_kind(kind)
    info.create_system = system
    assert problem in refusal(made("good", info))
    assert everything(temporary) == set()


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("a", "a"), "twice"),
        (("Data/a", "data/A"), "twice"),
        (("\u00fc", "u\u0308"), "twice"),  # two forms of one name
        (("a/", "a"), "twice"),
        (("a", "a/b"), "lies in a file"),
        (("a/b/c/d", "A/b"), "lies in a file"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_every_name_once(made: Made, temporary: Path, names: tuple[str, ...], problem: str) -> None:
    assert problem in refusal(made(*names))


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_encryption_is_refused(made: Made, temporary: Path, flag: int) -> None:
    path = made("secret")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 8  # the flags in the list of members
    struct.pack_into("<H", data, at, flag)
    path.write_bytes(data)
    assert "'secret' is encrypted" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(made: Made, temporary: Path, method: int) -> None:
    info = zipfile.ZipInfo("odd")
    info.compress_type = method
    assert f"is compressed by method {method}" in refusal(made(info))


@pytest.fixture
def a_bomb(tmp_path: Path) -> Path:
    """70 kB would become 70 MB."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(7):
            archive.writestr(f"{number}", bytes(10_000_000))
    return path


def test_a_bomb(a_bomb: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "unpacks to 70000000, more than 200 times as much" in refusal(a_bomb)
    monkeypatch.setenv(ARCHIVE_RATIO.variable, "2000")
    with unpacked(a_bomb) as folder:
        assert len(everything(folder)) == 7
    monkeypatch.setenv(ARCHIVE_BYTES.variable, "69999999")
    assert "unpacks to 70000000 bytes, more than 69999999" in refusal(a_bomb)
    monkeypatch.delenv(ARCHIVE_BYTES.variable)
    with pytest.raises(InputError, match="more than 1000"), open_archive(a_bomb, 1000):
        pass
    assert everything(temporary) == set()


@pytest.mark.parametrize("said", [1, 100, 9_999_999, 10_000_001, 2**31])
def test_a_size_that_is_a_lie(a_bomb: Path, temporary: Path, said: int) -> None:
    """The bytes are counted while they are written, whatever the list of members says."""
    data = a_bomb.read_bytes()
    data = data.replace(struct.pack("<L", 10_000_000), struct.pack("<L", said))
    a_bomb.write_bytes(data)
    message = refusal(a_bomb)
    assert "'0' cannot be read" in message or "refused" in message
    assert everything(temporary) == set()


def test_one_piece_of_data_for_many_members(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members that share their data make a large output of a small archive."""
    path = tmp_path / "overlap.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("00000", bytes(1_000_000))
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    entry = data[start : data.index(b"PK\x05\x06")]
    count = 5000
    listed = b"".join(entry.replace(b"00000", b"%05d" % k) for k in range(count))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(listed), start, 0)
    path.write_bytes(data[:start] + listed + end)
    assert "unpacks to 5000000000, more than 200 times as much" in refusal(path)
    monkeypatch.setenv(ARCHIVE_MEMBERS.variable, "4999")
    assert "has 5000 members, more than 4999" in refusal(path)


def test_a_list_of_members_without_end(made: Made, temporary: Path) -> None:
    path = made("a")
    data = bytearray(path.read_bytes()[:-22])
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 20_000_000, len(data), 0)
    path.write_bytes(bytes(data) + bytes(20_000_000) + end)
    assert "its list of members is too long" in refusal(path)


def test_every_cut_and_many_flips(tmp_path: Path, temporary: Path) -> None:
    """A damaged archive is refused, or unpacks to the original content."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("one", "folder/two"):
            archive.writestr(name, b"content of " + name.encode() * 20)
    data = path.read_bytes()
    changed = [data[:cut] for cut in range(0, len(data), 3)]
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        changed.append(bytes(flipped))
    taken = 0
    for each in changed:
        path.write_bytes(each)
        try:
            with unpacked(path) as folder:
                taken += 1
                for file in folder.rglob("*"):
                    assert file.is_dir() or file.read_bytes().startswith(b"content of ")
        except InputError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
    assert 0 < taken < len(changed)
    assert everything(temporary.parent) == {"deep"}


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened"), unpacked(tmp_path / "none.zip"):
        pass
    for content in (b"", b"text", bytes(1000)):
        (tmp_path / "a.zip").write_bytes(content)
        assert "cannot be read as a zip archive" in refusal(tmp_path / "a.zip")


def test_an_honest_archive(tmp_path: Path, temporary: Path) -> None:
    source = tmp_path / "source"
    (source / "OP 1 & 50% ü" / "Data").mkdir(parents=True)
    (source / "a.txt").write_bytes(b"first")
    (source / "OP 1 & 50% ü" / "Data" / "G%ffc3.nrrd").write_bytes(bytes(3_000_000))
    (source / "empty").write_bytes(b"")
    path = tmp_path / "honest.zip"
    pack(source, path)
    with unpacked(path) as folder:
        assert folder.is_relative_to(temporary)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert everything(folder) == everything(source)
        for file in source.rglob("*"):
            copy = folder / file.relative_to(source)
            assert file.is_dir() or copy.read_bytes() == file.read_bytes()
    assert everything(temporary) == set()
    with open_archive(path) as archive:
        assert "a.txt" in archive.files
        assert archive.read("a.txt", 3) == b"fir"
        assert archive.unpacked_bytes == 3_000_005
        with pytest.raises(InputError, match="'none' cannot be read"):
            archive.read("none", 1)


def test_the_folder_goes_whatever_happens(made: Made, temporary: Path) -> None:
    path = made("a")
    with pytest.raises(KeyboardInterrupt), unpacked(path):
        raise KeyboardInterrupt
    assert everything(temporary) == set()


def test_a_disk_with_too_little_room(
    made: Made, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made("a")
    usage = type("Usage", (), {"free": 2})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OutputError, match=r"a\.zip: it needs .* TMPDIR"), unpacked(path):
        pass
    assert everything(temporary) == set()
