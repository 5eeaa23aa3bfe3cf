"""`surgsam2 models` lists, downloads and verifies checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.helpers import Command, text_file


def test_models_list(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path))
    (tmp_path / "sam2_hiera_tiny.pt").touch()
    code, out, err = run("models", "list")
    assert (code, err) == (0, "")
    head, *lines, blank, advice = out.splitlines()
    assert head.split() == ["NAME", "STATE", "SIZE", "SPEED", "USE", "SOURCE"]
    assert blank == ""
    assert advice.startswith("recommended here: ")
    rows = {line.split()[0]: line for line in lines}
    assert len(rows) == 10
    assert "  184 MB  -      recommended for real video" in rows["sam2.1-hiera-small"]
    assert " to try the software" in rows["demo"]
    assert "built in" in rows["demo"]
    assert " here " in rows["sam2-hiera-tiny"]
    assert " here " not in rows["sam2-hiera-small"]
    assert rows["sam2.1-hiera-large"].endswith("/sam2.1_hiera_large.pt")
    assert "Surgical-SAM-2" in rows["surgsam2-hiera-small-512"]


def test_models_download_by_hand(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path))
    assert "has no direct download" in refused("models", "download", "surgsam2-hiera-small-512")
    assert "unknown model 'x'" in refused("models", "download", "x")


def test_models_verify(
    run: Command, refused: Callable[..., str], demo_checkpoint: Path, tmp_path: Path
) -> None:
    code, out, err = run("models", "verify", str(demo_checkpoint))
    assert (code, err) == (0, "")
    assert "fits demo, 4.4 M parameters" in out
    assert hashlib.sha256(demo_checkpoint.read_bytes()).hexdigest() in out
    assert "not a PyTorch checkpoint" in refused("models", "verify", text_file(tmp_path / "a.pt"))
    assert "use the config demo" in refused(
        "models", "verify", str(demo_checkpoint), "--config", "sam2-hiera-tiny-512"
    )
