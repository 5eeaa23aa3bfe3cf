"""CPU time of the image encoder in float32 and bfloat16, ours beside OpenVINO's.

One image, untrained weights, one thread each, by turns; the least of six turns. The figures of one
machine are in docs/notes/bfloat16.md.

    pip install openvino; python docs/notes/experiments/openvino_encoder.py [CONFIG]
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable

import numpy as np
import openvino as ov
import torch

from surgsam2.export.steps import ImageEncoder
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network


def compiled(step: ImageEncoder, image: torch.Tensor, precision: str) -> Callable[[], object]:
    """Return a call of the encoder in OpenVINO."""
    model = ov.convert_model(step, example_input=image)
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
    request = ov.compile_model(model, "CPU", settings).create_infer_request()
    picture = image.numpy()
    return lambda: request.infer([picture])


def main(config: str = "surgsam2-hiera-small-512") -> None:
    """Print the least CPU time of each."""
    torch.set_num_threads(1)
    network = build_network(load_config(config), config, SurgSAM2Network).eval()
    position = torch.zeros(1)
    side = network.image_size
    image = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    )
    picture = torch.randn(1, 3, side, side).contiguous(memory_format=torch.channels_last)

    def ours() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            network.encode_image(picture)

    def ours_float32() -> None:
        with torch.no_grad():
            network.encode_image(picture)

    plain = copy.deepcopy(network)
    plain._compiled = True  # sam2's own modules, which OpenVINO can convert
    with torch.no_grad():
        step = ImageEncoder(plain, position)
        calls = {"ours bfloat16": ours, "ours float32": ours_float32}
        calls |= {f"OpenVINO {p}": compiled(step, image, p) for p in ("f32", "bf16")}
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(6):
        for name, call in calls.items():
            began = time.process_time()
            call()
            least[name] = min(least[name], time.process_time() - began)
    for name, seconds in least.items():
        print(f"{name}: {1000 * seconds:.0f} ms")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
