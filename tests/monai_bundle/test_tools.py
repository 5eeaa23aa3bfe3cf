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


@pytest.mark.parametrize(
    ("config", "kind"),
    [("inference.json", "infer"), ("train.json", "train"), ("evaluate.json", "infer")],
)
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


def as_monai_label(bundle: Path, picture: Path, **request: Any) -> np.ndarray:
    """Return the mask, (H, W) uint8, of a request as MONAI Label's task for bundles makes it."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser["bundle_root"] = str(bundle)
    data = {"image": str(picture), **request}
    for transform in parser.get_parsed_content("preprocessing").transforms:
        data = transform(data)
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    inferer: Callable[..., torch.Tensor] = parser.get_parsed_content("inferer")
    data["pred"] = inferer(data["image"][None].to(torch.device("cpu")), network)[0]
    for transform in parser.get_parsed_content("postprocessing").transforms:
        data = transform(data)
    return np.asarray(data["pred"]).T  # in MONAI, x comes first


@pytest.mark.parametrize(
    ("request_", "prompt"),
    [
        ({}, {"points": [[79.5, 59.5, 1]]}),
        (
            {"foreground": [[40, 30]], "background": [[120, 90, 0], [10, 100]]},
            {"points": [[40, 30, 1], [120, 90, 0], [10, 100, 0]]},
        ),
        ({"roi": [20, 30, 90, 100, 0, 1]}, {"box": [20, 30, 90, 100]}),
        (
            {"roi": [20, 30, 90, 100], "foreground": [[50, 60]], "background": []},
            {"box": [20, 30, 90, 100], "points": [[50, 60, 1]]},
        ),
    ],
    ids=["nothing", "clicks", "box", "both"],
)
def test_a_picture_as_monai_label_takes_it(
    request_: dict[str, Any],
    prompt: dict[str, Any],
    a_bundle: Path,
    a_clip: np.ndarray,
    tmp_path: Path,
) -> None:
    """Preprocessing, inferer and postprocessing make the mask that the tracker makes."""
    frame = a_clip[0]
    Image.fromarray(frame).save(tmp_path / "frame.png")
    mask = as_monai_label(a_bundle, tmp_path / "frame.png", **request_)
    assert mask.shape == frame.shape[:2]
    assert mask.dtype == np.uint8
    model = surgsam2.load_model(a_bundle, device="cpu", dtype="float32")
    height, width = frame.shape[:2]
    prompts = surgsam2.PromptSet().add(object_id=1, frame=0, **prompt)
    truth = surgsam2.Tracker(model, width, height).step(frame, prompts).mask(1)
    assert 0.02 < truth.mean() < 0.98
    assert (mask.astype(bool) == truth).mean() > 0.98


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"foreground": "here"}, "foreground must be a list, got 'here'"),
        ({"foreground": [[1]]}, r"a click of foreground must be 2 or more numbers, got \[1\]"),
        ({"foreground": [[1, 10**400]]}, "a click of foreground must be 2 or more numbers"),
        ({"roi": [0, 0, 9, float("inf")]}, "roi must be 4 or more numbers"),
        ({"background": [[1, 2, float("nan")]]}, "a click of background must be 2 or more"),
        ({"background": [[5, 5]]}, "all points are negative"),
        ({"roi": [5, 5, 1, 1]}, "is empty or inverted"),
    ],
)
def test_clicks_that_cannot_be_used(
    request_: dict[str, Any], message: str, a_bundle: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (32, 24)).save(tmp_path / "frame.png")
    with pytest.raises(surgsam2.SurgSAM2Error, match=message):
        as_monai_label(a_bundle, tmp_path / "frame.png", **request_)


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
