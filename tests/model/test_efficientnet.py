"""The convolutional trunk: its maps, and the classifier's weights that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from surgsam2.errors import CheckpointError, InputError
from surgsam2.model import configs
from surgsam2.model.build import MEAN, STD
from surgsam2.model.builder import build_network
from surgsam2.model.checkpoint import infer_config
from surgsam2.model.configs import load_config
from surgsam2.model.cpu import matmul
from surgsam2.model.efficientnet import VARIANTS, Block, EfficientNetLite
from surgsam2.model.network import SurgSAM2Network
from surgsam2.training.config import FreezeConfig
from surgsam2.training.freezing import apply_freezing
from surgsam2.training.pretrained import load_pretrained


def a_classifier(trunk: EfficientNetLite, seed: int = 0) -> dict[str, Tensor]:
    """A state dict as the pretrained packages have it, with weights of chance."""
    torch.manual_seed(seed)
    state: dict[str, Tensor] = {"_fc.weight": torch.randn(10, 1280)}

    def layer(convolution: str, norm: str, weight: Tensor) -> None:
        channels = len(weight)
        state[f"{convolution}.weight"] = torch.randn_like(weight) / weight[0].numel() ** 0.5
        state[f"{norm}.weight"] = torch.rand(channels) + 0.5
        state[f"{norm}.bias"] = torch.randn(channels) * 0.2
        state[f"{norm}.running_mean"] = torch.randn(channels) * 0.1
        state[f"{norm}.running_var"] = torch.rand(channels) + 0.5

    layer("_conv_stem", "_bn0", trunk.stem.weight)
    for number, block in enumerate(trunk.blocks):
        names = ["expand", "depthwise", "project"][0 if has_expansion(block) else 1 :]
        for name in names:
            norm = {"expand": 0, "depthwise": 1, "project": 2}[name]
            prefix = f"_blocks.{number}."
            weight = getattr(block, name).weight
            layer(f"{prefix}_{name}_conv", f"{prefix}_bn{norm}", weight)
    return state


def has_expansion(block: Block) -> bool:
    return isinstance(block.expand, torch.nn.Conv2d)


def classified(state: dict[str, Tensor], trunk: EfficientNetLite, x: Tensor) -> Tensor:
    """The classifier's last map of stride 16, by convolutions and norms as it has them."""

    def layer(x: Tensor, convolution: str, norm: str, stride: int = 1) -> Tensor:
        weight = state[f"{convolution}.weight"]
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        extra = weight.shape[2] - stride
        before, after = extra // 2, extra - extra // 2
        x = F.conv2d(F.pad(x, (before, after) * 2), weight, stride=stride, groups=groups)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{norm}.{name}"] for name in names), eps=1e-3)

    x = F.relu6(layer(x, "_conv_stem", "_bn0", 2))
    for number, block in enumerate(trunk.blocks):
        y, prefix = x, f"_blocks.{number}."
        if has_expansion(block):
            y = F.relu6(layer(y, f"{prefix}_expand_conv", f"{prefix}_bn0"))
        y = F.relu6(layer(y, f"{prefix}_depthwise_conv", f"{prefix}_bn1", block.stride))
        y = layer(y, f"{prefix}_project_conv", f"{prefix}_bn2")
        x = x + y if block.adds else y
    return x


@pytest.mark.parametrize("variant", VARIANTS)
def test_maps_of_three_strides(variant: str) -> None:
    trunk = EfficientNetLite(variant)
    maps = trunk(torch.zeros(2, 3, 64, 64))
    assert [m.shape[-1] for m in maps] == [16, 8, 4]
    assert [m.shape[1] for m in maps] == trunk.channel_list[::-1]


def test_unknown_variant_is_refused() -> None:
    with pytest.raises(InputError, match=r"lite0, lite1, lite2.*'lite9'"):
        EfficientNetLite("lite9")


def test_folded_weights_give_the_classifiers_features(tmp_path: Path) -> None:
    trunk = EfficientNetLite()
    state = a_classifier(trunk)
    torch.save(state, tmp_path / "classifier.pth")
    load_pretrained(trunk, tmp_path / "classifier.pth")
    # grey as the zeros that borders are padded with, in the classifier's numbers and in ours
    pixels = torch.full((1, 3, 96, 96), 0.5)
    pixels[..., 40:56, 40:56] = torch.rand(1, 3, 16, 16)
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    with torch.no_grad():
        expected = classified(state, trunk, (pixels * 255 - 127) / 128)
        got = trunk((pixels - mean) / std)[-1]
    expected = F.layer_norm(expected.movedim(1, -1), expected.shape[1:2]).movedim(-1, 1)
    assert (got - expected).abs()[..., 1:-1, 1:-1].max() < 0.05
    assert expected.abs().max() > 1


def test_what_is_missing_in_a_classifier_is_named_at_once(tmp_path: Path) -> None:
    trunk = EfficientNetLite()
    state = a_classifier(trunk)
    del state["_blocks.2._bn1.weight"], state["_conv_stem.weight"]
    state["_blocks.3._project_conv.weight"] = torch.zeros(3, 3, 1, 1)
    torch.save(state, tmp_path / "other.pth")
    before = {k: v.clone() for k, v in trunk.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"other\.pth") as caught:
        load_pretrained(trunk, tmp_path / "other.pth")
    for name in ("_conv_stem.weight", "_blocks.2._bn1.weight", "_blocks.3._project_conv.weight"):
        assert name in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in trunk.state_dict().items())


def test_own_configuration_may_name_the_trunk(tmp_path: Path) -> None:
    text = Path(configs.__file__).with_name("lite.yaml").read_text()
    path = tmp_path / "own.yaml"
    path.write_text(text)
    network = build_network(load_config(str(path), 64), str(path), SurgSAM2Network)
    assert isinstance(network.image_encoder.trunk, EfficientNetLite)


def test_weights_tell_their_configuration() -> None:
    network = build_network(load_config("lite", 64), "lite", SurgSAM2Network)
    assert infer_config(network.state_dict(), "x.pt") == "lite"


def test_trunk_alone_can_be_frozen() -> None:
    network = build_network(load_config("lite", 64), "lite", SurgSAM2Network)
    trained = apply_freezing(network, FreezeConfig(image_encoder=False, trunk=True))
    assert any(name.startswith("image_encoder.neck.") for name in trained)
    assert not any(name.startswith("image_encoder.trunk.") for name in trained)


@pytest.mark.skipif(not matmul.is_available(), reason="this processor has no fast products")
@pytest.mark.parametrize("variant", VARIANTS)
def test_fused_convolutions_give_the_same_maps(variant: str) -> None:
    torch.manual_seed(3)
    trunk = EfficientNetLite(variant)
    for weight in trunk.parameters():
        weight.data *= 3  # large enough for both ends of ReLU6
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        for expected, got in zip(trunk(images), trunk(images, matmul.convolve), strict=True):
            assert got.shape == expected.shape
            assert (got - expected).abs().max() < 1e-4 * expected.abs().max()
