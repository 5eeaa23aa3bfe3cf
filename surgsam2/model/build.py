"""`load_model` makes a model of a configuration, a checkpoint, a device and a precision."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf

from surgsam2.errors import CheckpointError, InputError
from surgsam2.model import zoo
from surgsam2.model.builder import build_network
from surgsam2.model.bundle import OWN, WEIGHTS, read_bundle
from surgsam2.model.checkpoint import infer_config, load_state, read_checkpoint, weights_sha256
from surgsam2.model.configs import Config, config_names, load_config
from surgsam2.model.cpu.allocator import keep_freed_memory
from surgsam2.model.cpu.backend import CpuBackend
from surgsam2.model.cpu.parallel import EncoderPool
from surgsam2.model.cuda.copies import to_device
from surgsam2.model.cuda.graphs import CudaGraphs
from surgsam2.model.cuda.precision import same_tf32
from surgsam2.model.cuda.stream_encoder import StreamEncoder
from surgsam2.model.devices import check_cuda_graphs, resolve_device, resolve_dtype
from surgsam2.model.network import SurgSAM2Network
from surgsam2.model.pruning import EFP

logger = logging.getLogger(__name__)

BUILT_IN = OWN / WEIGHTS
"""File of the built-in model's weights."""
UNTRAINED = (
    "the built-in model's weights are missing here: its masks mean nothing, except where a mask "
    "prompt is shown"
)
MEAN = (0.485, 0.456, 0.406)
"""Mean of RGB in 0 to 1 that SAM 2 subtracts, ImageNet's."""
STD = (0.229, 0.224, 0.225)
"""Standard deviation of RGB in 0 to 1 that SAM 2 divides by, ImageNet's."""

Encoders = EncoderPool | StreamEncoder
"""What encodes the next frames of recorded video: threads on the CPU, a stream on a GPU."""
Pixels = np.ndarray | torch.Tensor
"""A picture; a tensor may lie on any device."""

if hasattr(os, "register_at_fork"):
    # PyTorch's other threads do not exist in a process that is forked, and it would wait for them.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@dataclass
class SurgSAM2Model:
    """A network ready for tracking. `load_model` makes it; trackers may share it."""

    name: str
    """Name of the configuration."""
    network: SurgSAM2Network
    """The sam2 network in evaluation mode; its state dict keys are SAM 2's own."""
    config: DictConfig
    """Resolved configuration, as `hydra.utils.instantiate` takes it."""
    device: torch.device
    """Where the weights are."""
    dtype: torch.dtype
    """Precision of the arithmetic (autocast); the weights stay float32."""
    pruning: EFP
    """Selects the spatial memories that a frame attends to."""
    checkpoint: Path | None
    """File that the weights came from; None for untrained weights."""
    _normalisation: tuple[torch.Tensor, torch.Tensor] = field(init=False, repr=False)
    """Mean and standard deviation of RGB, (3, 1, 1) float32 each, on the device."""

    def __post_init__(self) -> None:
        mean, std = (torch.tensor(v, device=self.device)[:, None, None] for v in (MEAN, STD))
        self._normalisation = (mean, std)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the tensors as 64 hexadecimal digits, whatever file they came from."""
        return weights_sha256(self.network.state_dict())

    def __repr__(self) -> str:
        millions = sum(p.numel() for p in self.network.parameters()) / 1e6
        dtype = str(self.dtype).removeprefix("torch.")
        weights = "untrained" if self.checkpoint is None else self.checkpoint.name
        side = self.image_size
        return (
            f"SurgSAM2Model({Path(self.name).name}, {millions:.1f} M parameters, "
            f"{side} x {side} input, {weights}, {dtype} on {self.device})"
        )

    @property
    def image_size(self) -> int:
        """Side of the network's square input in pixels."""
        return int(self.network.image_size)

    def preprocess(self, frame: Pixels) -> torch.Tensor:
        """Preprocess a frame as SAM 2 does, up to rounding: `resize`, then `normalise`.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Returns:
            (1, 3, S, S) float32 on the model's device.
        """
        return self.normalise(self.resize(frame))

    def resize(self, frame: Pixels) -> torch.Tensor:
        """Resize (H, W, 3) uint8 RGB to the network's (S, S, 3) by a bicubic filter.

        A frame for a CUDA device is resized there, any other where it lies. On the CPU PyTorch's
        filter for uint8 takes a ninth of the time of PIL's, which SAM 2 uses for folders of
        pictures. They differ by rounding: in few values, by 1 or 2.
        """
        if isinstance(frame, np.ndarray):
            # tensors need ascending, writable memory, unlike a mirrored or a mapped array
            frame = torch.from_numpy(np.require(frame, requirements=["C", "W"]))
        if self.device.type == "cuda":
            frame = to_device(frame, self.device)
        planes = _channels_first(frame)
        if frame.device.type != "cpu":  # the filter for uint8 is the CPU's
            planes = planes.float()
        size = (self.image_size, self.image_size)
        planes = F.interpolate(planes, size=size, mode="bicubic", antialias=True)
        if planes.is_floating_point():
            planes = planes.round_().clamp_(0, 255).to(torch.uint8)
        return planes.permute(0, 2, 3, 1)[0]

    def normalise(self, square: torch.Tensor) -> torch.Tensor:
        """Normalise (S, S, 3) uint8 RGB to (1, 3, S, S) float32 on the model's device."""
        pixels = _channels_first(to_device(square, self.device))
        mean, std = self._normalisation
        return pixels.float().div_(255.0).sub_(mean).div_(std)

    def resize_mask(self, mask: np.ndarray) -> torch.Tensor:
        """Resize a (H, W) bool mask to (1, 1, S, S) float32 of 0 and 1 on the model's device.

        A mask of a few pixels may vanish.
        """
        size = (self.image_size, self.image_size)
        square = torch.tensor(mask, dtype=torch.float32, device=self.device)[None, None]
        if mask.shape == size:
            return square
        square = F.interpolate(square, size=size, mode="bilinear", antialias=True)
        return (square >= 0.5).float()

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network is called."""
        if self.dtype == torch.float32:
            return same_tf32() if self.device.type == "cuda" else nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def encoder_pool(self) -> Encoders:
        """Return what encodes the next frames of recorded video; close it at the end."""
        if self.device.type == "cuda":
            return StreamEncoder(self.autocast, self.device)
        with torch.no_grad(), self.autocast():
            backend = self.network.backend_for(torch.empty(0, device=self.device))
        return EncoderPool(self.autocast, useful=isinstance(backend, CpuBackend))


def load_model(
    name_or_path: str | Path = "demo",
    config: str | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    pruning: EFP | str | None = EFP(),  # noqa: B008 - immutable
    compile: bool = False,
    cuda_graphs: CudaGraphs = "auto",
) -> SurgSAM2Model:
    """Load a model.

    On the CPU of a Linux system the process keeps up to 1 GiB of freed memory from then on, which
    makes frames faster (`surgsam2/model/cpu/allocator.py`).

    Args:
        name_or_path: `demo` (the built-in model), the name of a configuration (its published
            checkpoint, see `surgsam2 models list`), a checkpoint file (`.pt`/`.pth`
            with `{"model": state_dict}` or a bare state dict, or `.safetensors`), or the
            folder of a SurgSAM2 bundle, whose weights and configuration are read; none of
            its code is run.
        config: name of a configuration, or a YAML file; None takes the one that belongs to
            the model, for a checkpoint file at 512 pixels.
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda`, `cuda:0`, `mps`.
        dtype: `auto` (bfloat16 on CUDA devices and CPUs that multiply it natively, float32
            elsewhere), `float32`, `bfloat16`, `float16`. On CUDA devices float32 uses
            TensorFloat-32 only after `torch.set_float32_matmul_precision("high")`.
        pruning: Efficient Frame Pruning, or the name of its form; None is `off`.
        compile: compile the network's parts with `torch.compile`; the first frames then take
            minutes.
        cuda_graphs: replay the steps of a frame as CUDA graphs: `auto` (on CUDA devices, and
            without graphs where one cannot be captured), `on` (which makes that an error) or
            `off`. A compiled network has none.

    Returns:
        The model, in evaluation mode.

    Raises:
        InputError: unknown model, configuration, dtype, pruning form or choice of CUDA graphs.
        CheckpointError: unreadable file or bundle, or weights of another network.
        DeviceError: the device does not exist here, or it has no CUDA graphs and must have them.
    """
    if not isinstance(name_or_path, str | Path):
        raise InputError(
            "a model is given as a name, a file or a bundle folder, got "
            f"{type(name_or_path).__name__}"
        )
    target = resolve_device(device)
    number_format = resolve_dtype(dtype, target)
    check_cuda_graphs(cuda_graphs, target, compile=compile)
    if target.type == "cpu":
        keep_freed_memory()
    if not isinstance(pruning, EFP):
        pruning = EFP(form="off" if pruning is None else pruning)  # type: ignore[arg-type]
    path, named_config, image_size = locate(name_or_path)
    state = read_checkpoint(path) if path is not None else None
    if not config and named_config is None:
        assert state is not None
        named_config = infer_config(state, name_or_path)
    config_name, resolved = _resolve_config(config, named_config, image_size)
    network = build_network(resolved, config_name, SurgSAM2Network)
    _check_pruning(pruning, network.num_maskmem)
    if state is not None:
        load_state(network, state, path=path or "", config_name=config_name)
    else:
        logger.warning(UNTRAINED)
    network = network.to(target).eval().requires_grad_(False)
    if target.type == "cuda":  # the layout of the input, and that of cuDNN's fast convolutions
        network = network.to(memory_format=torch.channels_last)
    network.cuda_graphs = cuda_graphs
    if compile:
        network.compile_parts()
    return SurgSAM2Model(
        config_name,
        network,
        OmegaConf.create(resolved),
        target,
        number_format,
        pruning,
        checkpoint=path,
    )


def _resolve_config(
    chosen: str | None, own: str | None, image_size: int | None
) -> tuple[str, Config]:
    """Return the name and the content of a model's configuration.

    Args:
        chosen: the configuration that the user named, which is used as it is; None for none.
        own: the configuration that belongs to the weights; None only where one is chosen.
        image_size: side of the input in pixels that belongs to the weights; None for the
            configuration's own.

    Raises:
        InputError: as `load_config`.
    """
    name = chosen or own
    assert name is not None
    resolved = load_config(name)
    if chosen is None and image_size not in (None, resolved["image_size"]):
        return f"{name} at {image_size}", load_config(name, image_size)
    return name, resolved


def _check_pruning(pruning: EFP, bank: int) -> None:
    """Check that pruning leaves the first and the last of `bank` memories.

    Raises:
        InputError: it prunes more.
    """
    if pruning.form != "off" and pruning.prune > bank - 2:
        raise InputError(
            f"EFP prune must be at most {bank - 2} for a bank of {bank} memories (the first and "
            f"the last always stay), got {pruning.prune}"
        )


class Located(NamedTuple):
    """The place of a model's weights, and what its name tells of the network."""

    weights: Path | None
    """File of the weights; None where the built-in model has none yet."""
    config: str | None
    """Name or file of the configuration; None where the weights have to tell."""
    image_size: int | None = None
    """Side of the network's square input in pixels; None for the configuration's own."""


def locate(name_or_path: str | Path) -> Located:
    """Find the files of a model without loading them.

    Args:
        name_or_path: as for `load_model`.

    Raises:
        InputError: unknown model.
        CheckpointError: unreadable bundle, or weights that are not on this machine.
    """
    name = str(name_or_path)
    if name == "demo":
        return Located(BUILT_IN if BUILT_IN.is_file() else None, "lite")
    known = zoo.find_known(name)
    if known is not None:
        if not known.path.is_file():
            how = (
                f"run: surgsam2 models download {known.name}"
                if known.url
                else f"get it from {known.source} and put it there"
            )
            raise CheckpointError(f"{known.path}: the weights of {name!r} are not here; {how}")
        return Located(known.path, name if name in config_names() else known.config)
    path = Path(name_or_path).expanduser()
    if not name or not (path.suffix or path.exists()):
        names = ", ".join(["demo", *zoo.known_checkpoints()])
        raise InputError(f"model {name!r} is neither a file nor a known model ({names})")
    return Located(*read_bundle(path)) if path.is_dir() else Located(path, None)


def _channels_first(pixels: torch.Tensor) -> torch.Tensor:
    """View (H, W, 3) pixels as a batch of one, (1, 3, H, W), whose channels come last in memory.

    The batch is added before the axes move: otherwise PyTorch does not see the order in memory,
    and the first convolution takes more than twice as long.
    """
    return pixels[None].permute(0, 3, 1, 2)
