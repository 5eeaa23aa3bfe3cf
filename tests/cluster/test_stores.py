"""A list whose files are in S3 or on an SFTP server, over a network that breaks."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.options import ListOptions
from surgsam2.errors import InputError, OutputError
from surgsam2.job.datalist import read_datalist
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage import places
from surgsam2.storage.places import Place
from tests.cluster.helpers import InThisProcess, files_of, serial, settings_for, write_list
from tests.cluster.stores import CutConnections, s3_server, sftp_server


@pytest.fixture(params=["s3", "sftp"])
def a_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, CutConnections]]:
    """The address of an empty folder, and the network in between."""
    monkeypatch.setattr(places, "_PAUSE_SECONDS", 0.01)
    if request.param == "sftp":
        (tmp_path / "served").mkdir()
        with sftp_server(tmp_path / "served") as port:
            network = CutConnections(port, cuts=3, after=8000)
            yield f"sftp://me:secret@127.0.0.1:{network.port}/videos", network
            network.close()
        return
    with s3_server() as port:
        network = CutConnections(port, cuts=3, after=8000)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{network.port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        fsspec.filesystem("s3").makedirs("bucket", exist_ok=True)
        yield f"s3://bucket/{uuid.uuid4().hex}", network
        network.close()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_list_over_a_network_that_breaks(
    a_store: tuple[str, CutConnections],
    a_model: SurgSAM2Model, demo_checkpoint: Path, small_config: Path, tmp_path: Path,
) -> None:  # fmt: skip
    """Videos, prompts and results are there; the files are those of a serial run."""
    store, network = a_store
    path = write_list(tmp_path, ["deep/a"])
    for file in sorted((tmp_path / "in").iterdir()):
        (Place.of(store) / "in" / file.name).upload(file)
    jobs, out = read_datalist(path, f"{store}/out", store), Place.of(f"{store}/out")
    settings = settings_for(demo_checkpoint, small_config)
    options = ListOptions(chunk=5)
    segment_list(
        jobs, out, settings, options,
        executor=lambda: InThisProcess(settings, tmp_path / "scratch", stop_after=2),
    )  # fmt: skip
    assert network.broken == 3
    (out / "deep/a").download(tmp_path / "back")
    expected = serial(a_model, path, tmp_path / "serial")
    assert files_of(tmp_path / "back") == expected["a"]
    told: list[str] = []
    segment_list(jobs, out, settings, options, tell=told.append)
    assert told[0] == "deep/a: complete already, nothing to resume"


def test_a_place_that_may_not_be_written(
    a_store: tuple[str, CutConnections],
    demo_checkpoint: Path, small_config: Path, tmp_path: Path,
) -> None:  # fmt: skip
    store, _ = a_store
    refused = {
        "s3": "s3://no-such-bucket/out",
        "sftp": store.replace("secret", "guessed"),
    }[store.partition(":")[0]]
    jobs = read_datalist(write_list(tmp_path, ["a"]), refused)
    settings = settings_for(demo_checkpoint, small_config)
    with pytest.raises((InputError, OutputError), match=r"cannot write|cannot read") as caught:
        segment_list(jobs, Place.of(refused), settings, executor=lambda: pytest.fail("started"))
    assert "guessed" not in str(caught.value)
    assert refused.rpartition("@")[2] in str(caught.value)
