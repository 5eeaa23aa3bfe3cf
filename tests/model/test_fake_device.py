"""The steps of a tracked frame on tensors without data, which no GPU is needed for.

PyTorch's fake tensors have shapes and devices only. An operation fails that mixes devices, or
that needs a value on the host: on a GPU it would wait for the device.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.overrides import TorchFunctionMode

from surgsam2 import EFP, Tracker
from surgsam2.model import mask_motion
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.cuda.copies import pack_bits
from surgsam2.model.frame_data import MemoryBatch
from surgsam2.model.network import SurgSAM2Network
from surgsam2.tracking.appearance import appearances
from surgsam2.tracking.memory import ConditioningMemory, MaskOutput
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.postprocess import make_masks
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


class _NoWaiting(TorchFunctionMode):
    """Refuses calls that copy between host and device and wait for it.

    Tensors without data do not tell: their copies do nothing.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor) and func not in (torch.Tensor.cpu, torch.tensor):
            moved = any(
                isinstance(x, torch.Tensor) and x.device.type != result.device.type for x in args
            )
            assert not moved or kwargs.get("non_blocking"), f"{func} waits for the device"
        if func in (torch.Tensor.cpu, torch.tensor, torch.as_tensor):
            inside = args[0].device if func is torch.Tensor.cpu else result.device
            assert inside.type == "cpu", f"{func} waits for the device"
        return result


@devices
@pytest.mark.parametrize("name", ["demo", "lite"])
def test_a_step_of_the_tracker_waits_for_nothing(
    device: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a picture on the host to masks at the video's resolution, packed into bits."""
    network = build_network(load_config(name), name, SurgSAM2Network).eval()
    config, place = OmegaConf.create({}), torch.device(device)
    # Fake tensors cannot be pinned without a CUDA device.
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(mask_motion, "_all_equal", lambda _: False)  # it asks on CPUs only
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with sam2_modules(), mode, torch.no_grad():
        place_without_data(network, device)
        model = SurgSAM2Model(name, network, config, place, torch.float32, EFP(), None)
        options = TrackingOptions(allow_overlap=True)
        tracker = Tracker(model, 64, 48, first_frame=1, options=options)
        picture = np.zeros((48, 64, 3), np.uint8)
        features = tracker.encoded(picture).features()
        decoded = network.decode_tracked(features, network.without_memory(features))
        bank = tracker._new_bank()
        maps = network.encode_memory(features, decoded, prompted=True)
        look = appearances(features, decoded.low_res)[0]
        output = MaskOutput.of(decoded, 0)
        targets = network.target_equations(features, decoded)
        target = None if targets is None else targets[0]
        memory = ConditioningMemory(maps[0], decoded.pointers[0], output, look, target)
        bank.condition(0, memory)
        tracker._banks[1] = bank
        for _ in range(2):
            with _NoWaiting():
                outputs = tracker.advance(tracker.encoded(picture))
                low_res = torch.cat([output.low_res for output in outputs.values()])
                packed = pack_bits(make_masks(outputs, low_res, (64, 48), options))
    assert packed.shape == (1, 48 * 64 // 8)
    assert packed.device.type == device


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
