"""A pretrained convolutional trunk for SAM 2's image encoder: EfficientNet-Lite.

The network of Tan and Le's EfficientNet without squeeze-and-excitation and with ReLU6, as
published for small devices. Batch normalisation is folded into the convolutions, so a block
is three convolutions. The classification head and what only it needs are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgsam2.errors import InputError

_STAGES = (
    # expansion, kernel size, stride, channels, blocks of Lite0
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_COARSEST = 16
"""Stride of the last map that is computed; the stages after it are left out."""
_SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Factors on channels and on blocks."""
_STEM = 32
"""Number of channels of the first convolution."""
VARIANTS = tuple(_SCALES)


class Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow does: an odd zero goes to the right and the bottom.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        size: side of the kernel.
        stride: distance of two positions of the kernel.
        groups: number of groups of channels that are convolved apart.
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, groups: int = 1) -> None:
        extra = size - stride
        self.zeros = (extra // 2, extra - extra // 2)
        """Number of zeros before and after the map on each axis."""
        even = self.zeros[0] if self.zeros[0] == self.zeros[1] else 0
        super().__init__(inputs, outputs, size, stride, padding=even, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return the (B, C, H, W) convolution of `x`."""
        before, after = self.zeros
        if before != after:
            x = F.pad(x, (before, after, before, after))
        return super().forward(x)


Convolve = Callable[[Convolution, Tensor, bool], Tensor]
"""Computes a convolution of (B, C, H, W), followed by ReLU6 if the third argument is true."""


def convolve(layer: Convolution, x: Tensor, activate: bool) -> Tensor:
    """Compute a convolution and its activation by PyTorch's own operators, as `Convolve`."""
    y: Tensor = layer(x)
    return F.relu6(y) if activate else y


class Block(nn.Module):
    """Expansion, depthwise convolution and projection, added to the input where shapes agree.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        expansion: factor on the channels inside the block; 1 leaves the expansion out.
        size: side of the depthwise kernel.
        stride: stride of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, size: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = Convolution(inputs, hidden, 1, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Convolution(hidden, hidden, size, stride, groups=hidden)
        self.project = Convolution(hidden, outputs, 1, 1)
        self.adds = stride == 1 and inputs == outputs
        self.stride = stride

    def forward(self, x: Tensor, convolve: Convolve = convolve) -> Tensor:
        """Return the (B, C, H, W) output of the block."""
        y = x
        if isinstance(self.expand, Convolution):
            y = convolve(self.expand, y, True)
        y = convolve(self.project, convolve(self.depthwise, y, True), False)
        return x + y if self.adds else y


class EfficientNetLite(nn.Module):
    """Feature maps at strides 4, 8 and 16; every position of the last one is normalised.

    The normalisation (no mean and a deviation of 1 over the channels of a position) makes
    products of features cosine similarities, which is what memory attention compares by.

    Args:
        variant: `lite0`, `lite1` or `lite2`, in the order of their size.

    Raises:
        InputError: unknown variant.
    """

    channel_list: list[int]
    """Channels of the maps that `forward` gives, in reverse order, as `ImageEncoder` asks."""

    def __init__(self, variant: str = "lite0") -> None:
        super().__init__()
        if variant not in _SCALES:
            names = ", ".join(VARIANTS)
            raise InputError(f"variant of EfficientNetLite must be one of {names}, got {variant!r}")
        width, depth = _SCALES[variant]
        self.stem = Convolution(3, _STEM, 3, 2)
        blocks, outputs, stride, channels = [], dict[int, tuple[int, int]](), 2, _STEM
        for number, (expansion, size, step, base, repeats) in enumerate(_STAGES):
            stride *= step
            if stride > _COARSEST:
                break
            out = _rounded(base * width)
            # the first stage keeps its single block in all variants
            count = math.ceil(repeats * depth) if number else repeats
            for k in range(count):
                blocks.append(Block(channels, out, expansion, size, step if k == 0 else 1))
                channels = out
            outputs[stride] = (len(blocks) - 1, out)
        self.blocks = nn.ModuleList(blocks)
        self._outputs = {block: stride for stride, (block, _) in outputs.items() if stride > 2}
        self.channel_list = [out for stride, (_, out) in outputs.items() if stride > 2][::-1]

    def forward(self, images: Tensor, convolve: Convolve = convolve) -> list[Tensor]:
        """Compute the maps of images.

        Args:
            images: (B, 3, S, S), normalised.
            convolve: computes each convolution and its activation.

        Returns:
            Maps of sides S/4, S/8 and S/16, (B, C, H, W).
        """
        x = convolve(self.stem, images.contiguous(memory_format=torch.channels_last), True)
        maps = []
        for number, block in enumerate(self.blocks):
            x = block(x, convolve)
            if number in self._outputs:
                maps.append(x)
        last = maps[-1].permute(0, 2, 3, 1).float()
        maps[-1] = F.layer_norm(last, last.shape[-1:]).permute(0, 3, 1, 2)
        return maps


def _rounded(channels: float) -> int:
    """Return the nearest multiple of 8 that is at most a tenth below."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
