"""Reading and refusing bundle folders as models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from surgsam2.errors import CheckpointError
from surgsam2.model.bundle import NETWORK, OWN, read_bundle


def a_folder(path: Path, network: Any, *, weights: bool = True) -> Path:
    (path / "configs").mkdir()
    content = network if isinstance(network, str) else json.dumps({"network_def": network})
    (path / "configs" / "inference.json").write_text(content)
    if weights:
        (path / "models").mkdir()
        (path / "models" / "model.pt").touch()
    return path


def definition(**changed: Any) -> dict[str, Any]:
    return {"_target_": NETWORK, "config": "demo", "image_size": None} | changed


def test_ours() -> None:
    found = read_bundle(OWN)
    assert (found.config, found.image_size) == ("lite", 384)
    assert found.weights == OWN / "models" / "model.pt"


def test_a_network_of_its_own(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, definition(config="configs/network.yaml", image_size=64))
    assert read_bundle(folder)[1:] == (str(folder / "configs" / "network.yaml"), 64)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("{", "has no network_def of a SurgSAM2 model"),
        ("[]", "has no network_def of a SurgSAM2 model"),
        ({"_target_": "UNet"}, "has no network_def of a SurgSAM2 model"),
        (definition(_target_="UNet"), "network_def is 'UNet', should be"),
        (definition(config="$1"), "must be a plain name, got '\\$1'; expressions"),
        (definition(config="@config"), "expressions of a bundle are not run"),
        (definition(config="%x"), "expressions of a bundle are not run"),
        (definition(config=""), "must be a plain name, got ''"),
        (definition(config=["demo"]), "must be a plain name"),
        (definition(image_size="$64"), "image_size of network_def must be a number, got '\\$64'"),
        (definition(image_size=True), "image_size of network_def must be a number"),
        (definition(config="../other.yaml"), "lies outside the bundle"),
        (definition(config="/etc/x.yaml"), "lies outside the bundle"),
    ],
)
def test_refusals(network: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_bundle(a_folder(tmp_path, network))
    assert str(tmp_path) in str(caught.value)


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder, but not a bundle"):
        read_bundle(tmp_path)


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.pt: the bundle's weights are missing"):
        read_bundle(a_folder(tmp_path, definition(), weights=False))
