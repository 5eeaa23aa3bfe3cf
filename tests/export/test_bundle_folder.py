"""Bundles are written as folders and zip files, completely or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import surgsam2
from surgsam2 import cli
from surgsam2.errors import InputError, OutputError
from surgsam2.export import bundle_folder as bundle_files
from surgsam2.export.bundle_folder import NAME, copy_bundle, write_bundle, zip_bundle
from surgsam2.model.bundle import OWN
from surgsam2.model.checkpoint import weights_sha256

Weights = dict[str, torch.Tensor]


def names_in(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_bundle_has_all_files_of_ours(demo_weights: Weights, tmp_path: Path) -> None:
    write_bundle(tmp_path / "new", demo_weights, "demo", 96)
    ours = {p.relative_to(OWN) for p in OWN.rglob("*") if p.is_file()}
    new = {p.relative_to(tmp_path / "new") for p in (tmp_path / "new").rglob("*") if p.is_file()}
    assert {p for p in ours if p.parts[0] != "models"} < new
    assert Path("models/model.pt") in new
    metadata = json.loads((tmp_path / "new" / "configs" / "metadata.json").read_text())
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == [96, 96]
    model = surgsam2.load_model(tmp_path / "new", device="cpu")
    assert (model.name, model.image_size) == ("demo at 96", 96)
    assert names_in(tmp_path) == {"new"}


def test_equal_weights_make_equal_files(demo_weights: Weights, tmp_path: Path) -> None:
    turned = dict(reversed(demo_weights.items()))
    for name, weights in (("one", demo_weights), ("another", turned)):
        write_bundle(tmp_path / name, weights, "demo", 96)
    write_bundle(tmp_path / "again", demo_weights, "demo", 96)
    files = {n: (tmp_path / n / "models" / "model.pt").read_bytes() for n in names_in(tmp_path)}
    assert files["one"] == files["again"]
    said = {
        json.loads((tmp_path / name / "configs" / "metadata.json").read_text())["weights_sha256"]
        for name in files
    }
    assert said == {weights_sha256(demo_weights)}
    changed = demo_weights | {"maskmem_tpos_enc": demo_weights["maskmem_tpos_enc"] + 1}
    assert weights_sha256(changed) not in said


def test_a_bundle_states_nothing_that_is_not_known(demo_weights: Weights, tmp_path: Path) -> None:
    write_bundle(tmp_path / "new", demo_weights, "demo", 96)
    metadata = json.loads((tmp_path / "new" / "configs" / "metadata.json").read_text())
    own = json.loads((OWN / "configs" / "metadata.json").read_text())
    for name in ("authors", "copyright", "data_source", "data_type", "label_classes"):
        assert metadata[name] != own[name]
        assert metadata[name].startswith("to be stated")
    assert metadata["eval_metrics"] == metadata["training"] == {}
    facts = {"seed": 3, "data": [{"kind": "synthetic"}], "validation": {"metrics": {"J&F": 0.5}}}
    write_bundle(tmp_path / "new", demo_weights, "demo", 96, facts)
    metadata = json.loads((tmp_path / "new" / "configs" / "metadata.json").read_text())
    assert metadata["training"] == facts
    assert metadata["eval_metrics"] == {"J&F": 0.5}
    assert metadata["data_type"] == "synthetic"
    assert "- seed: `3`" in (tmp_path / "new" / "docs" / "README.md").read_text()


def test_a_link_in_a_bundle_is_not_packed(demo_weights: Weights, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key")
    write_bundle(tmp_path / "new", demo_weights, "demo")
    (tmp_path / "new" / "docs" / "notes.txt").symlink_to(tmp_path / "secret")
    for pack, target in ((zip_bundle, "b.zip"), (copy_bundle, "copy")):
        with pytest.raises(OutputError, match=r"notes.txt: is a link"):
            pack(tmp_path / "new", tmp_path / target)
    assert names_in(tmp_path) == {"secret", "new"}


def test_a_network_of_ones_own_goes_along(
    demo_weights: Weights, small_config: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.yaml"
    shutil.copy(small_config, own)
    write_bundle(tmp_path / "new", demo_weights, str(own))
    own.unlink()
    model = surgsam2.load_model(tmp_path / "new", device="cpu")
    assert model.image_size == 128
    copied = yaml.safe_load((tmp_path / "new" / "configs" / "network.yaml").read_text())
    assert copied["model"]["image_size"] == 128


def test_another_config_may_be_chosen(demo_weights: Weights, tmp_path: Path) -> None:
    write_bundle(tmp_path / "new", demo_weights, "demo", 96)
    model = surgsam2.load_model(tmp_path / "new", config="demo", device="cpu")
    assert (model.name, model.image_size) == ("demo", 384)


def test_only_bundles_are_replaced(demo_weights: Weights, tmp_path: Path) -> None:
    write_bundle(tmp_path / "new", demo_weights, "demo")
    (tmp_path / "new" / "left-over.txt").touch()
    write_bundle(tmp_path / "new", demo_weights, "demo", 96)
    assert not (tmp_path / "new" / "left-over.txt").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").touch()
    with pytest.raises(OutputError, match=r"mine: it is there, and is no bundle"):
        write_bundle(tmp_path / "mine", demo_weights, "demo")
    assert names_in(tmp_path / "mine") == {"diary.txt"}


def test_a_full_disk_leaves_the_bundle_before(
    demo_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "new", demo_weights, "demo", 96)

    def full(state: object, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_files.torch, "save", full)
    with pytest.raises(OutputError, match=r"cannot write .*new: No space left"):
        write_bundle(tmp_path / "new", demo_weights, "demo", 128)
    assert names_in(tmp_path) == {"new"}
    assert surgsam2.load_model(tmp_path / "new", device="cpu").image_size == 96


def test_an_unknown_config(demo_weights: Weights, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown config 'dmo'"):
        write_bundle(tmp_path / "new", demo_weights, "dmo")
    with pytest.raises(InputError, match=r"image_size must be a multiple of 32 .*, got 100"):
        write_bundle(tmp_path / "new", demo_weights, "demo", 100)
    assert not names_in(tmp_path)
    own = tmp_path / "own.yaml"
    own.write_text("model: {image_size: 64}\n")
    with pytest.raises(InputError, match="it has no memory_attention"):
        write_bundle(tmp_path / "new", demo_weights, str(own), 96)


def test_equal_bundles_make_equal_zips(demo_weights: Weights, tmp_path: Path) -> None:
    write_bundle(tmp_path / "one", demo_weights, "demo")
    copy_bundle(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "configs" / "__pycache__").mkdir()
    (tmp_path / "two" / "configs" / "__pycache__" / "x.pyc").touch()
    (tmp_path / "two" / ".hidden").touch()
    for name in ("one", "two"):
        zip_bundle(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with pytest.raises(OutputError, match="two: it is there already"):
        copy_bundle(tmp_path / "one", tmp_path / "two")


# the command


def test_a_checkpoint_becomes_a_bundle(
    demo_checkpoint: Path, demo_weights: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine"
    assert cli.main(["bundle", "--model", str(demo_checkpoint), "--output", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    network = surgsam2.load_model(target, device="cpu").network
    assert all(torch.equal(t, demo_weights[n]) for n, t in network.state_dict().items())


def test_the_zip_file_has_the_name_of_the_folder_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bundle"]) == 0
    assert capsys.readouterr().out == f"{NAME}_v{surgsam2.__version__}.zip\n"
    assert names_in(tmp_path) == {f"{NAME}_v{surgsam2.__version__}.zip"}


def test_a_bundle_is_packed_as_it_is(demo_weights: Weights, tmp_path: Path) -> None:
    write_bundle(tmp_path / "mine", demo_weights, "demo")
    (tmp_path / "mine" / "docs" / "README.md").write_text("my card")
    target = tmp_path / "mine.zip"
    assert cli.main(["bundle", "--model", str(tmp_path / "mine"), "--output", str(target)]) == 0
    shutil.unpack_archive(target, tmp_path / "unpacked")
    assert names_in(tmp_path / "unpacked") == {NAME}
    assert (tmp_path / "unpacked" / NAME / "docs" / "README.md").read_text() == "my card"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "nothing"], "neither a file nor a known model"),
        (["--config", "sam2.1-hiera-tiny-512"], "but the config 'sam2.1-hiera-tiny-512' is"),
        (["--output", "none/b.zip"], "cannot write none/b.zip: No such file"),
    ],
)
def test_refusals(
    words: list[str],
    message: str,
    demo_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bundle", "--model", str(demo_checkpoint), "--output", "b.zip", *words]) == 2
    assert message in capsys.readouterr().err
    assert not names_in(tmp_path)
