"""MONAI's own exporters write the network for single images, or say what to use instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.bundle import ckpt_export, onnx_export

from surgsam2.monai_bundle.network import frame_network


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
        (ckpt_export, "without tracing; add --use_trace True"),
        (onnx_export, "use surgsam2 export"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of PyTorch's exporters
def test_exports_that_cannot_work_say_what_to_use(
    export: Callable[..., None],
    message: str,
    a_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=message):
        export(
            "network_def",
            filepath="model.out",
            ckpt_file=str(a_bundle / "models" / "model.pt"),
            meta_file=str(a_bundle / "configs" / "metadata.json"),
            config_file=str(a_bundle / "configs" / "inference.json"),
            bundle_root=str(a_bundle),
        )
    assert not (tmp_path / "model.out").exists()
