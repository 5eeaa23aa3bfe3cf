"""The steps of a tracked frame on tensors without data, which no GPU is needed for.

PyTorch's fake tensors have shapes and devices only. An operation fails that mixes devices, or
that needs a value on the host: on a GPU it would wait for the device.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from surgsam2 import EFP
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.frame_data import MemoryBatch
from surgsam2.model.network import SurgSAM2Network
from tests.model.helpers import sam2_modules

OBJECTS, POINTERS = 2, 5
devices = pytest.mark.parametrize(
    "device",
    [
        "cpu",  # synchronisation fails, mixed devices cannot occur
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(
                torch.version.cuda is None, reason="this build of PyTorch has no CUDA devices"
            ),
        ),
    ],
)


def place_without_data(network: nn.Module, device: str) -> None:
    """Replace all tensors of a network by fake ones on a device; to be called in fake mode."""

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=device)

    for module in network.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            module.register_parameter(name, nn.Parameter(fake(value), requires_grad=False))
        for name, value in list(module.named_buffers(recurse=False)):
            module.register_buffer(name, fake(value))
        for name, value in list(vars(module).items()):
            if isinstance(value, torch.Tensor):  # position tables that are not buffers
                setattr(module, name, fake(value))
        if isinstance(getattr(module, "cache", None), dict):  # those of the position encodings
            module.cache = {}


@devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_tracked_frame_mixes_no_devices_and_waits_for_none(
    device: str, dtype: torch.dtype
) -> None:
    network = build_network(load_config("demo"), "demo", SurgSAM2Network).eval()
    size, side = network.image_size, network.image_size // 16
    autocast = torch.autocast(device, dtype) if dtype != torch.float32 else nullcontext()
    with sam2_modules(), FakeTensorMode(), torch.no_grad(), autocast:
        place_without_data(network, device)
        features = network.encode_image(torch.empty(1, 3, size, size, device=device))
        memory = MemoryBatch(
            maps=torch.empty(
                OBJECTS, 7, network.mem_dim, side, side, dtype=torch.bfloat16, device=device
            ),
            map_ages=torch.zeros(OBJECTS, 7, dtype=torch.int64, device=device),
            pointers=torch.empty(OBJECTS, POINTERS, network.hidden_dim, device=device),
            pointer_ages=torch.empty(OBJECTS, POINTERS, device=device),
        )
        conditioned = network.attend(features, memory, EFP(), 15)
        decoded = network.decode_tracked(features, conditioned)
        maps = network.encode_memory(features, decoded, prompted=False)
    assert maps.shape == (OBJECTS, network.mem_dim, side, side)
    assert decoded.high_res.shape == (OBJECTS, 1, size, size)
    for tensor in (features.tokens, conditioned, maps, *vars(decoded).values()):
        assert tensor.device.type == device


@devices
def test_a_frame_on_the_device_is_resized_there(device: str) -> None:
    """A tensor of a camera's frame reaches the network without being copied to the host."""
    network = build_network(load_config("demo"), "demo", SurgSAM2Network).eval()
    config = OmegaConf.create({})
    with FakeTensorMode():
        model = SurgSAM2Model(
            "demo", network, config, torch.device(device), torch.float32, EFP(), None
        )
        pixels = model.preprocess(torch.empty(48, 64, 3, dtype=torch.uint8, device=device))
    assert pixels.shape == (1, 3, model.image_size, model.image_size)
    assert pixels.device.type == device


def test_fake_tensors_have_no_values() -> None:
    """Otherwise the test above would not notice a synchronisation."""
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        torch.empty(3).sum().item()
