"""A network that carries labels from frame to frame before it has learned anything.

The trunk is an image classifier's, whose features are alike where the same tissue is seen. The
rest of the network is filled so that it makes use of that at once:

- The neck rotates the features onto their principal components.
- A memory is the first components beside a code of the mask: what share of each of the 4x4 parts
  of the position's square is covered.
- Memory attention compares components and adds the code that it finds to the features, in
  channels that the neck leaves empty.
- The mask decoder writes the code's 16 values out as a mask of four times the resolution.
- In the mask decoder a click's token finds its place in the image, because both are compared by
  the same projection of their position encodings.

All weights are trained from there.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgsam2.errors import InputError
from surgsam2.model.efficientnet import EfficientNetLite
from surgsam2.model.network import SurgSAM2Network
from surgsam2.training.batches import ClipBatches
from surgsam2.training.pretrained import load_pretrained
from surgsam2.training.rollout import ClipBatch

_PARTS = 4
"""Number of parts per side of a position that the code tells apart, as the decoder upscales."""
_CODE = _PARTS**2
"""Number of values of a mask's code at a position."""
_BATCHES = 24
"""Number of batches whose frames give the mean and the components of the features."""
_MEMORY_SCALE = 4.0
"""Factor of components and code in a memory, which are large beside the position encoding."""
_SHARPNESS = 20.0
"""Attention logit of a feature with itself."""
_NEARNESS = 6.0
"""Attention logit by which the same place is preferred to one a quarter of a wave away."""
_NEARNESS_PAIR = 6
"""The rotary pair that measures the distance; a wave of about 35 positions."""
_CLICK_GAIN = 1.4
"""Factor on the projections by which clicks are compared with places."""
_RANDOM_SCALE = 0.1
"""Factor on random weights beside those that are set."""


def start_from_trunk(
    network: SurgSAM2Network, path: str, batches: ClipBatches | list[ClipBatch]
) -> None:
    """Load the trunk and fill the other parts, in place.

    Args:
        network: the network, whose trunk is an `EfficientNetLite`.
        path: checkpoint file of the image classifier.
        batches: the batches of the run, of which the first ones are looked at.

    Raises:
        CheckpointError: as `load_pretrained`.
        InputError: the network has another trunk, or too few channels.
    """
    trunk: Any = network.image_encoder.trunk
    if not isinstance(trunk, EfficientNetLite):
        raise InputError(
            f"pretrained_trunk needs a network with an EfficientNetLite trunk, not "
            f"{type(trunk).__name__}"
        )
    load_pretrained(trunk, path)
    with torch.no_grad():
        frames = torch.cat([batches[k].images[:, 0] for k in range(_BATCHES)])
        maps = [trunk(image[None]) for image in frames]
    levels = [torch.cat(level) for level in zip(*maps, strict=True)]
    device = next(network.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _fill(network.cpu(), levels)
    network.to(device)


def _fill(network: SurgSAM2Network, levels: list[Tensor]) -> None:
    """Fill every part of a network on the CPU but its trunk.

    Args:
        network: the network.
        levels: the trunk's maps of some images, (N, C, H, W) each, the finest first.

    Raises:
        InputError: the network has too few channels.
    """
    channels, width = levels[-1].shape[1], network.hidden_dim
    if channels + _CODE > width or network.mem_dim <= _CODE:
        raise InputError(
            f"the network's {width} channels and its memories' {network.mem_dim} have no room for "
            f"the trunk's {channels} and a mask code of {_CODE}"
        )
    parts: Any = network
    _fill_neck(parts.image_encoder.neck, levels)
    _fill_memory_encoder(parts.memory_encoder, parts.mem_dim)
    for layer in parts.memory_attention.layers:
        _fill_attention(layer, parts.mem_dim)
    _fill_decoder(parts.sam_mask_decoder)
    _fill_click_attention(parts)
    with torch.no_grad():
        parts.sam_prompt_encoder.no_mask_embed.weight *= _RANDOM_SCALE
        parts.sam_prompt_encoder.no_mask_embed.weight[:, -_CODE:] = 0


@torch.no_grad()
def _fill_neck(neck: Any, levels: list[Tensor]) -> None:
    """Rotate the coarsest maps onto their principal components, and scale the finer ones.

    Args:
        neck: sam2's module.
        levels: as for `_fill`.
    """
    coarse, *finer = [conv.conv for conv in neck.convs]
    features = levels[-1].transpose(0, 1).flatten(1).double()
    mean = features.mean(dim=1, keepdim=True)
    centred = features - mean
    variances, basis = torch.linalg.eigh(centred @ centred.T / centred.shape[1])
    channels = len(variances)
    rotation = basis.flip(1).T * (channels / variances.sum()).sqrt()
    coarse.weight.zero_()
    coarse.bias.zero_()
    coarse.weight[:channels, :, 0, 0] = rotation.float()
    coarse.bias[:channels] = -(rotation @ mean)[:, 0].float()
    for conv, level in zip(finer, reversed(levels[:-1]), strict=True):
        conv.weight /= level.std()


def _fill_memory_encoder(encoder: Any, memory: int) -> None:
    """Have a memory of `memory` channels hold the first components and the mask's code."""
    width = encoder.pix_feat_proj.weight.shape[0]
    with torch.no_grad():
        nn.init.dirac_(encoder.pix_feat_proj.weight)
        encoder.pix_feat_proj.bias.zero_()
        for layer in encoder.fuser.layers:
            layer.gamma.fill_(1e-3)
        last = encoder.mask_downsampler.encoder[-1]
        last.weight[:-_CODE] = 0
        last.bias[:-_CODE] = 0
        encoder.out_proj.weight.zero_()
        encoder.out_proj.bias.zero_()
        for k in range(memory):
            source = k if k < memory - _CODE else width - memory + k
            encoder.out_proj.weight[k, source] = _MEMORY_SCALE
    _learn_code(encoder.mask_downsampler)


def _learn_code(downsampler: Any, steps: int = 400) -> None:
    """Train the mask's way into a memory to give the code, by masks of random shapes."""
    optimizer = torch.optim.Adam(downsampler.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    side, step = 128, 16 // _PARTS
    for number in range(steps):
        coarse = torch.randn(8, 1, 2 + number % 12, 2 + number % 12)
        shape = F.interpolate(coarse, size=(side, side), mode="bicubic")
        mask = (shape * 30).sigmoid()
        covered = F.avg_pool2d(mask, step) * 2 - 1
        target = F.pixel_unshuffle(covered, _PARTS)
        code = downsampler(mask * 20 - 10)
        loss = (code[:, -_CODE:] - target).square().mean() + code[:, :-_CODE].square().mean()
        optimizer.zero_grad()
        loss.backward()
        last = downsampler.encoder[-1]
        last.weight.grad[:-_CODE] = 0
        last.bias.grad[:-_CODE] = 0
        optimizer.step()
        schedule.step()


@torch.no_grad()
def _fill_attention(layer: Any, memory: int) -> None:
    """Have a layer of memory attention carry the code from where the components are alike.

    Args:
        layer: sam2's module.
        memory: number of channels of a memory.
    """
    for part in (layer.self_attn.out_proj, layer.linear2):
        part.weight *= _RANDOM_SCALE
        part.bias.zero_()
    cross = layer.cross_attn_image
    width, keys = cross.q_proj.weight.shape[1], memory - _CODE
    for part in (cross.q_proj, cross.k_proj, cross.v_proj, cross.out_proj):
        part.weight *= _RANDOM_SCALE
        part.bias.zero_()
    # the pairs of the rotary encoding that turn slowest do not tell places apart
    pairs = width // 4
    slow = [half * pairs + p for p in reversed(range(pairs)) for half in (0, 1)]
    gain = (_SHARPNESS * width**0.5 / width / _MEMORY_SCALE) ** 0.5
    for component in range(keys):
        place = 2 * slow[component // 2] + component % 2
        for part in (cross.q_proj, cross.k_proj):
            part.weight[place] = 0
            part.weight[place, component] = gain
    bias = (_NEARNESS * width**0.5) ** 0.5
    for half in (0, 1):
        place = 2 * (half * pairs + _NEARNESS_PAIR)
        for part in (cross.q_proj, cross.k_proj):
            part.weight[place : place + 2] = 0
            part.bias[place] = bias
    for k in range(_CODE):
        cross.v_proj.weight[k] = 0
        cross.v_proj.weight[k, keys + k] = 1 / _MEMORY_SCALE
        cross.out_proj.weight[width - _CODE + k] = 0
        cross.out_proj.weight[width - _CODE + k, k] = 1.0


@torch.no_grad()
def _fill_decoder(decoder: Any) -> None:
    """Have the mask decoder write the code of each position out as 4x4 logits."""
    for layer in decoder.transformer.layers:
        layer.cross_attn_image_to_token.out_proj.weight *= _RANDOM_SCALE
        layer.cross_attn_image_to_token.out_proj.bias.zero_()
    first, _, _, second, _ = decoder.output_upscaling
    width, half = first.weight.shape[0], _PARTS // 2
    # an activation's two signs together give back what went in: gelu(x) - gelu(-x) = x
    signs = 2 * half**2
    first.weight[:, :signs] = 0
    first.bias[:signs] = 0
    second.weight[:, :2] = 0
    second.bias[:2] = 0
    for row in range(_PARTS):
        for column in range(_PARTS):
            part = width - _CODE + row * _PARTS + column
            sub = row % half * half + column % half
            first.weight[part, sub, row // half, column // half] = 1.0
            first.weight[part, sub + half**2, row // half, column // half] = -1.0
    for row in range(half):
        for column in range(half):
            sub = row * half + column
            for channel, sign in ((0, 1.0), (1, -1.0)):
                second.weight[sub, channel, row, column] = sign
                second.weight[sub + half**2, channel, row, column] = -sign
    for conv, rows in ((decoder.conv_s1, signs), (decoder.conv_s0, 2)):
        conv.weight *= 0.3
        conv.weight[:rows] = 0
        conv.bias[:rows] = 0
    for mlp in decoder.output_hypernetworks_mlps:
        last = mlp.layers[-1]
        last.weight *= _RANDOM_SCALE
        last.bias[0], last.bias[1] = 3.0, -3.0


@torch.no_grad()
def _fill_click_attention(network: Any) -> None:
    """Have the mask decoder compare clicks and positions by one projection of their encodings."""
    transformer = network.sam_mask_decoder.transformer
    attentions = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in attentions:
        nn.init.orthogonal_(attention.q_proj.weight, gain=_CLICK_GAIN)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
    transformer.layers[0].norm1.weight *= 0.5
    # what a click says of its place is to be louder than what kind of click it is
    for embedding in network.sam_prompt_encoder.point_embeddings:
        embedding.weight *= 0.3
