"""Videos, prompts and results in stores, whose errors are injected."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.manifest import CHUNKS, Manifest, Manifests
from surgsam2.cluster.options import ListOptions
from surgsam2.errors import InputError, MissingDependencyError, OutputError, SurgSAM2Error
from surgsam2.job.datalist import FailedJobsError, VideoJob, read_datalist
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage import places
from surgsam2.storage.places import LocalCopies, Place
from tests.cluster.helpers import InThisProcess, files_of, serial, settings_for, write_list


class Unreliable(MemoryFileSystem):
    """A store in memory in which operations may fail."""

    protocol = "unreliable"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    calls = 0
    every = 0
    """Each call of this number fails; 0 for none."""
    refused = ""
    """A part of the names of files that cannot be written."""

    def _may_fail(self, path: str = "") -> None:
        Unreliable.calls += 1
        if self.every and Unreliable.calls % self.every == 0:
            raise ConnectionResetError("the connection was reset")
        if self.refused and self.refused in path:
            raise PermissionError(13, "Permission denied")

    def _open(self, path: str, mode: str = "rb", **given: Any) -> Any:
        self._may_fail(path if "w" in mode else "")
        return super()._open(path, mode, **given)

    def info(self, path: str, **given: Any) -> Any:
        self._may_fail()
        return super().info(path, **given)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty folder in a store."""
    fsspec.register_implementation("unreliable", Unreliable, clobber=True)
    monkeypatch.setattr(places, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(Unreliable, "every", 0)
    monkeypatch.setattr(Unreliable, "refused", "")
    Unreliable.clear_instance_cache()
    return f"unreliable://{uuid.uuid4().hex}"


def uploaded(folder: Path, store: str) -> list[VideoJob]:
    """The list and its files in the store."""
    for path in sorted((folder / "in").iterdir()):
        (Place.of(store) / "in" / path.name).upload(path)
    return read_datalist(folder / "list.json", f"{store}/out", store)


def test_a_lost_connection_is_no_missing_file(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place.of(store) / "file"
    place.write_bytes(b"1")
    monkeypatch.setattr(Unreliable, "every", 2)
    assert all(place.exists() for _ in range(4))
    place.delete()
    monkeypatch.setattr(Unreliable, "every", 0)
    assert not place.exists()


def test_results_in_a_store(
    a_model: SurgSAM2Model, demo_checkpoint: Path, small_config: Path, tmp_path: Path,
    store: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One call in seven fails, a worker is lost, and the files are those of serial runs."""
    path = write_list(tmp_path, ["a", "deep/b"])
    jobs, out = uploaded(tmp_path, store), Place.of(f"{store}/out")
    settings = settings_for(demo_checkpoint, small_config)
    monkeypatch.setattr(Unreliable, "every", 7)
    summary = segment_list(
        jobs, out, settings, ListOptions(chunk=5),
        executor=lambda: InThisProcess(settings, tmp_path / "scratch", stop_after=2),
    )  # fmt: skip
    assert [row["status"] for row in summary["videos"]] == ["complete", "complete"]
    monkeypatch.setattr(Unreliable, "every", 0)
    assert (out / "summary.json").read_bytes() is not None
    assert "a worker was lost" in ((out / "logs" / "a.log").read_bytes() or b"").decode()
    for name, files in serial(a_model, path, tmp_path / "serial").items():
        place = next(job.output for job in jobs if job.output.name == name)
        assert not (place / CHUNKS).names()
        place.download(tmp_path / "back" / name)
        assert files_of(tmp_path / "back" / name) == files, name
    assert not list((tmp_path / "scratch").glob("[!c]*"))  # only copies of videos are kept
    told: list[str] = []
    segment_list(jobs, out, settings, ListOptions(chunk=5), tell=told.append)
    assert told[0] == "a: complete already, nothing to resume"


def test_a_place_without_permission(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path, store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_list(tmp_path, ["a"])
    jobs, out = uploaded(tmp_path, store), Place.of(f"{store}/out")
    settings = settings_for(demo_checkpoint, small_config)
    run = lambda: segment_list(  # noqa: E731
        jobs, out, settings, executor=lambda: InThisProcess(settings, tmp_path / "scratch")
    )
    monkeypatch.setattr(Unreliable, "refused", "summary")
    with pytest.raises(OutputError, match=r"cannot write .*summary\.json: Permission denied"):
        run()
    monkeypatch.setattr(Unreliable, "refused", "results.spool")
    with pytest.raises(FailedJobsError):
        run()
    row = json.loads((out / "summary.json").read_bytes() or b"")["videos"][0]
    assert row["status"] == "failed"
    assert "results.spool: Permission denied" in row["error"]


def test_an_interrupt_at_once(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path, store: str
) -> None:
    """The second Ctrl-C waits for no worker."""
    write_list(tmp_path, ["a"])
    jobs, out = uploaded(tmp_path, store), Place.of(f"{store}/out")
    settings = settings_for(demo_checkpoint, small_config)

    def interrupt() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_list(
            jobs, out, settings, should_stop=interrupt,
            executor=lambda: InThisProcess(settings, tmp_path / "scratch"),
        )  # fmt: skip
    assert json.loads((out / "summary.json").read_bytes() or b"")["status"] == "interrupted"


def test_files_of_others_in_a_store_are_kept(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path, store: str
) -> None:
    write_list(tmp_path, ["a"])
    jobs, out = uploaded(tmp_path, store), Place.of(f"{store}/out")
    settings = settings_for(demo_checkpoint, small_config)
    mine = out / "a" / "masks" / "00000.png"
    mine.write_bytes(b"mine")

    def none() -> Any:
        raise AssertionError("a worker is started")

    with pytest.raises(InputError, match=r"out/a: it holds files of others; choose another"):
        segment_list(jobs, out, settings, executor=none)
    assert mine.read_bytes() == b"mine"


def test_a_driver_that_was_replaced_writes_no_manifest(store: str) -> None:
    output, first, second = Place.of(f"{store}/a"), Manifests(), Manifests()
    manifest = first.write(output, Manifest("k"), first=True)
    second.write(output, manifest, first=True)
    with pytest.raises(OutputError, match="another run of this list writes here too"):
        first.write(output, manifest)


def test_schemes() -> None:
    with pytest.raises(InputError, match=r"gopher:// is not known; use a path, s3://"):
        Place.of("gopher://a/b")
    assert Place.of("file:///a/b").path == Path("/a/b")
    assert Place.of("C:\\videos").is_local
    assert (Place.of("memory://a") / "b").text == "memory://a/b"
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="s3fs"):
            Place.of("s3://bucket/name")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sftp://me:secret@host/a.mp4", "sftp://me:…@host/a.mp4"),
        ("https://host/a.mp4?X-Amz-Signature=secret&b=1", "https://host/a.mp4?…"),
        ("unreliable://a.mp4?sig=secret", "unreliable://a.mp4?…"),
    ],
)
def test_secrets_of_addresses_are_not_shown(
    address: str, shown: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(address)
    assert str(place) == shown

    def fails(text: str) -> Any:
        raise ConnectionError(f"403 Forbidden for ('{text}')")

    monkeypatch.setattr(places, "_system", fails)
    monkeypatch.setattr(places, "_disconnect", lambda text: None)
    for work in (place.read_bytes, place.exists, place.names, lambda: place.write_bytes(b"")):
        with pytest.raises(SurgSAM2Error) as caught:
            work()
        assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match=r"gopher://me:…@host/\?…: the scheme"):
        Place.of("gopher://me:secret@host/?secret")


def test_copies_are_bounded(tmp_path: Path, store: str) -> None:
    copies = LocalCopies(tmp_path / "copies", 250)
    files = [Place.of(store) / f"{i}.mp4" for i in range(4)]
    for number, place in enumerate(files):
        place.write_bytes(bytes([number]) * 100)
        assert copies.fetch(place).read_bytes() == bytes([number]) * 100
        assert copies.fetch(files[0]).exists()
    kept = sorted(path.name for path in (tmp_path / "copies").rglob("*.mp4"))
    assert kept == ["0.mp4", "3.mp4"]
    files[3].write_bytes(b"new")
    assert copies.fetch(files[3]).read_bytes() == b"new"


def test_fingerprints_do_not_depend_on_the_place(tmp_path: Path, store: str) -> None:
    for size in (0, 5, 2**20 + 3, 3 * 2**20):
        path = tmp_path / f"{size}"
        path.write_bytes(bytes(i % 251 for i in range(1000)) * (size // 1000 + 1))
        place = Place.of(store) / path.name
        place.upload(path)
        assert place.fingerprint() == Place.of(path).fingerprint()
