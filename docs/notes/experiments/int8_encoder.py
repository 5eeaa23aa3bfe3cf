"""int8 for the linear layers of Hiera-S's image encoder: its time, and the error of its features.

PyTorch's dynamic quantisation (weights per channel, activations per tensor) replaces the linear
layers of sam2's modules. The least CPU time of the turns of one thread, in alternation, and the
error of the coarse features beside that of bfloat16. The figures are in docs/notes/bfloat16.md.

    python docs/notes/experiments/int8_encoder.py [TURNS]
"""

from __future__ import annotations

import copy
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

from surgsam2.model.backend import Sam2Backend
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network

CONFIG = "surgsam2-hiera-small-512"


def milliseconds(call) -> float:  # type: ignore[no-untyped-def]
    """Return the CPU time of a call."""
    began = time.thread_time()
    call()
    return (time.thread_time() - began) * 1000


def main(turns: int = 3) -> None:
    """Print the times of a layer and of the encoder, and the errors of the features."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build_network(load_config(CONFIG), CONFIG, SurgSAM2Network).eval()
    network.requires_grad_(False)
    small = copy.deepcopy(network)
    small.image_encoder = quantize_dynamic(
        small.image_encoder, {nn.Linear: per_channel_dynamic_qconfig}
    )
    picture = F.interpolate(torch.randn(1, 3, 32, 32), size=(512, 512), mode="bicubic")
    layer, x = nn.Linear(1536, 384), torch.randn(1024, 1536)
    one = quantize_dynamic(nn.Sequential(layer), {nn.Linear: per_channel_dynamic_qconfig})

    def features(model: SurgSAM2Network) -> Tensor:
        return Sam2Backend(model).encode_image(picture).tokens.float()

    calls = {
        "layer, float32": lambda: layer(x),
        "layer, int8": lambda: one(x),
        "encoder, float32": lambda: features(network),
        "encoder, int8": lambda: features(small),
    }
    with torch.no_grad():
        least = dict.fromkeys(calls, float("inf"))
        for _ in range(turns):
            for name, call in calls.items():
                least[name] = min(least[name], milliseconds(call))
        exact, rounded = features(network), features(small)
        with torch.autocast("cpu", torch.bfloat16):
            half = features(network)
    print({name: round(value, 1) for name, value in least.items()})  # noqa: T201
    for name, value in (("int8", rounded), ("bfloat16", half)):
        print(f"{name}: relative error {float((value - exact).norm() / exact.norm()):.4f}")  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
