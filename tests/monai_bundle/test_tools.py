"""MONAI's own tools and its Python interface accept the bundle."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow, load, verify_net_in_out
from PIL import Image

import surgsam2
from surgsam2.model.bundle import OWN
from surgsam2.monai_bundle.network import FrameNetwork


def workflow(bundle: Path, config: str, kind: str, **override: Any) -> ConfigWorkflow:
    return create_workflow(
        config_file=str(bundle / "configs" / config),
        workflow_type=kind,
        bundle_root=str(bundle),
        logging_file=False,
        **override,
    )


@pytest.mark.parametrize(("config", "kind"), [("inference.json", "infer"), ("train.json", "train")])
@pytest.mark.parametrize("ours", [True, False], ids=["built-in", "fine-tuned"])
def test_properties_are_complete(config: str, kind: str, ours: bool, a_bundle: Path) -> None:
    made = workflow(OWN if ours else a_bundle, config, kind)
    assert made.check_properties() == []
    assert made.version
    assert isinstance(made.device, torch.device)


@pytest.mark.parametrize("ours", [True, False], ids=["built-in", "fine-tuned"])
def test_the_network_takes_what_the_metadata_says(
    ours: bool, a_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configs = (OWN if ours else a_bundle) / "configs"
    verify_net_in_out(
        "network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        device="cpu",
    )


@pytest.mark.parametrize("kind", [{"workflow_type": "inference"}, {}], ids=["inference", "train"])
def test_load_gives_the_network_with_its_weights(
    kind: dict[str, str],
    a_bundle: Path,
    demo_weights: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    network = load(a_bundle.name, bundle_dir=a_bundle.parent, device="cpu", **kind)
    assert isinstance(network, FrameNetwork)
    assert network.image_size == 128
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, demo_weights[name]), name


def test_a_picture_as_monai_label_takes_it(
    a_bundle: Path, a_clip: np.ndarray, tmp_path: Path
) -> None:
    """Preprocessing, inferer and postprocessing make the mask that the tracker makes."""
    frame = a_clip[0]
    Image.fromarray(frame).save(tmp_path / "frame.png")
    parser = ConfigParser()
    parser.read_config(str(a_bundle / "configs" / "inference.json"))
    parser["bundle_root"] = str(a_bundle)
    data = parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "frame.png")})
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(a_bundle / "models" / "model.pt", weights_only=True))
    inferer: Callable[..., torch.Tensor] = parser.get_parsed_content("inferer")
    data["pred"] = inferer(data["image"][None], network)[0]
    mask = parser.get_parsed_content("postprocessing")(data)["pred"]
    assert mask.shape == (frame.shape[1], frame.shape[0])  # in MONAI, x comes first

    model = surgsam2.load_model(a_bundle, device="cpu")
    height, width = frame.shape[:2]
    centre = surgsam2.PromptSet().add(
        object_id=1, frame=0, points=[[width / 2 - 0.5, height / 2 - 0.5, 1]]
    )
    truth = surgsam2.Tracker(model, width, height).step(frame, centre).mask(1)
    assert 0.02 < truth.mean() < 0.98
    assert (np.asarray(mask).T.astype(bool) == truth).mean() > 0.98


def test_postscript_is_no_picture_for_monai_label(a_bundle: Path, tmp_path: Path) -> None:
    """Pillow would start Ghostscript to read such a file."""
    Image.new("RGB", (32, 24)).save(tmp_path / "frame.png", "EPS")
    parser = ConfigParser()
    parser.read_config(str(a_bundle / "configs" / "inference.json"))
    parser["bundle_root"] = str(a_bundle)
    preprocessing = parser.get_parsed_content("preprocessing")
    with pytest.raises(RuntimeError) as caught:
        preprocessing({"image": str(tmp_path / "frame.png")})
    assert "cannot identify image file" in "".join(traceback.format_exception(caught.value))


def test_expressions_of_a_bundle_are_not_run(a_bundle: Path, tmp_path: Path) -> None:
    config = json.loads((a_bundle / "configs" / "inference.json").read_text())
    trap = tmp_path / "trap"
    config["network_def"]["config"] = f"$open({str(trap)!r}, 'w')"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.json").write_text(json.dumps(config))
    with pytest.raises(surgsam2.SurgSAM2Error, match="expressions of a bundle are not run"):
        surgsam2.load_model(tmp_path, device="cpu")
    assert not trap.exists()
