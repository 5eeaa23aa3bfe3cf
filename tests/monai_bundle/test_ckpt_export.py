"""MONAI's own exporters write the network for single images, or say what to use instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ckpt_export

from surgsam2.monai_bundle.network import frame_network
from tests.monai_bundle.conftest import MonaiCommand


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # sam2 branches on settings
def test_the_traced_network_gives_the_same_logits_for_pictures_of_any_size(
    a_bundle: Path,
    demo_weights: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ckpt_export(
        "network_def",
        filepath="model.ts",
        ckpt_file=str(a_bundle / "models" / "model.pt"),
        meta_file=str(a_bundle / "configs" / "metadata.json"),
        config_file=str(a_bundle / "configs" / "inference.json"),
        bundle_root=str(a_bundle),
        use_trace=True,
    )
    stored = {"metadata.json": ""}
    traced = torch.jit.load("model.ts", _extra_files=stored)
    metadata = json.loads((a_bundle / "configs" / "metadata.json").read_text())
    assert json.loads(stored["metadata.json"])["version"] == metadata["version"]
    network = frame_network("demo", 128)
    network.load_state_dict(demo_weights)
    for height, width in ((128, 128), (60, 90)):
        picture = torch.rand(1, 3, height, width)
        torch.testing.assert_close(traced(picture), network(picture))


@pytest.mark.parametrize(
    ("export", "message"),
    [
        ("ckpt_export", "without tracing; add --use_trace True"),
        ("onnx_export", "use surgsam2 export"),
    ],
)
def test_exports_that_cannot_work_say_what_to_use(
    export: str, message: str, a_bundle: Path, monai: MonaiCommand, tmp_path: Path
) -> None:
    configs = a_bundle / "configs"
    done = monai(
        export, "network_def", "--filepath", tmp_path / "model.out",
        "--ckpt_file", a_bundle / "models" / "model.pt",
        "--meta_file", configs / "metadata.json", "--config_file", configs / "inference.json",
        "--bundle_root", a_bundle,
    )  # fmt: skip
    *_, last = done.stderr.splitlines()
    assert done.returncode == 2
    assert last.startswith("surgsam2: error: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model.out").exists()
