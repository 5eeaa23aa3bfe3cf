"""The memory encoder against `sam2`'s own."""

import pytest
import torch
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine

from surgsam2.model.cpu import matmul, memory_encoder

pytestmark = pytest.mark.skipif(
    not matmul.is_available(), reason="the CPU backend needs an x86 processor with AVX2"
)
CHANNELS, SIDE, STRIDE = 32, 6, 16


def a_case(
    out_dim: int, layer_scale: float, blocks: int
) -> tuple[MemoryEncoder, torch.Tensor, torch.Tensor]:
    """Return an encoder, features and a mask."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = an_encoder(out_dim, layer_scale, blocks)
        features = torch.randn(1, CHANNELS, SIDE, SIDE)
        mask = torch.randn(1, 1, STRIDE * SIDE, STRIDE * SIDE)
    return encoder, features, mask


def shared(encoder: MemoryEncoder, features: torch.Tensor) -> torch.Tensor:
    return memory_encoder.project_image(encoder, features[0].flatten(1).t(), (SIDE, SIDE))


def an_encoder(out_dim: int, layer_scale: float, blocks: int) -> MemoryEncoder:
    block = CXBlock(CHANNELS, layer_scale_init_value=layer_scale)
    encoder = MemoryEncoder(
        out_dim=out_dim,
        mask_downsampler=MaskDownSampler(
            CHANNELS, kernel_size=3, stride=2, padding=1, total_stride=STRIDE
        ),
        fuser=Fuser(block, num_layers=blocks),
        position_encoding=PositionEmbeddingSine(num_pos_feats=out_dim),
        in_dim=CHANNELS,
    )
    for parameter in encoder.parameters():
        if parameter.ndim == 1:  # scales and biases that differ
            parameter.data += 0.5 * torch.randn_like(parameter)
    return encoder.eval().requires_grad_(False)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("layer_scale", [1e-6, 0])
@pytest.mark.parametrize("out_dim", [8, CHANNELS])
def test_every_build_equals_sam2s(out_dim: int, layer_scale: float, blocks: int) -> None:
    encoder, features, mask = a_case(out_dim, layer_scale, blocks)
    assert memory_encoder.supports(encoder)
    expected = encoder(features, mask, skip_mask_sigmoid=True)["vision_features"]
    image = shared(encoder, features)
    kept = image.clone()
    for _ in range(2):  # the second call may use cached weights
        memory = memory_encoder.encode(encoder, image, mask)
        torch.testing.assert_close(memory, expected, rtol=0, atol=1e-5)
    assert torch.equal(image, kept)  # all objects share it


def test_changed_weights_are_seen() -> None:
    encoder, features, mask = a_case(8, 1e-6, 2)
    image = shared(encoder, features)
    for block in encoder.fuser.layers:
        for weight in (block.pwconv2.weight, block.pwconv2.bias, block.gamma):
            memory_encoder.encode(encoder, image, mask)
            weight.mul_(2)
    for weight in (encoder.out_proj.weight, encoder.out_proj.bias):
        memory_encoder.encode(encoder, image, mask)
        weight.mul_(2)
    expected = encoder(features, mask, skip_mask_sigmoid=True)["vision_features"]
    memory = memory_encoder.encode(encoder, image, mask)
    torch.testing.assert_close(memory, expected, rtol=0, atol=1e-4)
