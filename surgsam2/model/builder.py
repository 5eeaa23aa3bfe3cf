"""Build a network from its configuration, with parts of a table of allowed ones.

A configuration may come from a stranger. `PARTS` and `NETWORK` list every class that a
configuration may name, every argument that it may set, and the values that each may have;
nothing else is accepted. Checking makes a copy of what was accepted, and the network is built
from that copy alone. No text of a configuration is evaluated, imported or looked up.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import Attention, RoPEAttention
from sam2.modeling.sam2_base import SAM2Base
from torch import nn
from torch.overrides import TorchFunctionMode

from surgsam2.errors import InputError, raise_if_out_of_memory
from surgsam2.model.configs import LARGEST_SIDE, SMALLEST_SIDE, Config
from surgsam2.model.efficientnet import VARIANTS, EfficientNetLite
from surgsam2.model.mask_motion import MaskMotion
from surgsam2.model.target_model import TargetModel

Network = TypeVar("Network", bound=SAM2Base)

MOST_NUMBERS = 300_000_000
"""Most numbers in the tensors of one network (1.2 GB); the largest of SAM 2 has 224 million."""


@dataclass(frozen=True)
class Value:
    """An argument that is a number, a word, true, false, null, or a list of these."""

    words: str
    """Description for messages, after "must be"."""
    accepts: Callable[[Any], bool]
    """Tells whether a value is allowed."""


@dataclass(frozen=True)
class Part:
    """An argument that is a network part: a table that names a class of `PARTS[role]`."""

    role: str
    """Role of the part in a network."""


@dataclass(frozen=True)
class Table:
    """An argument that is a table of arguments, or null."""

    of: str
    """Class that takes the arguments, for messages."""
    arguments: Arguments
    """Arguments that are allowed."""


Arguments = Mapping[str, Value | Part | Table]


def whole(low: int, high: int, multiple: int = 1) -> Value:
    """Return the kind of whole numbers from `low` to `high`."""
    kind = "a whole number" if multiple == 1 else f"a multiple of {multiple}"
    return Value(
        f"{kind} from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high and value % multiple == 0,
    )


def real(low: float, high: float) -> Value:
    """Return the kind of numbers from `low` to `high`."""
    return Value(
        f"a number from {low:g} to {high:g}",
        lambda value: type(value) in (int, float) and low <= value <= high,
    )


def one_of(*values: str | int | bool | None) -> Value:
    """Return the kind of values that equal one of `values` and have its type."""
    return Value(
        " or ".join(json.dumps(value) for value in values),
        lambda value: any(type(value) is type(v) and value == v for v in values),
    )


def many(item: Value, shortest: int, longest: int) -> Value:
    """Return the kind of lists of `shortest` to `longest` items."""
    count = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    return Value(
        f"a list of {count} items, each {item.words}",
        lambda value: (
            type(value) is list
            and shortest <= len(value) <= longest
            and all(item.accepts(v) for v in value)
        ),
    )


def either(*kinds: Value) -> Value:
    """Return the kind of values that one of `kinds` accepts."""
    return Value(
        " or ".join(kind.words for kind in kinds),
        lambda value: any(kind.accepts(value) for kind in kinds),
    )


FLAG = one_of(True, False)
NULL = one_of(None)
WIDTH = whole(1, 4096)
HEADS = whole(1, 64)
KERNEL = whole(1, 31)
STRIDE = whole(1, 64)
PADDING = whole(0, 31)
LAYERS = whole(1, 64)
SHARE = real(0, 1)
STAGES = 8  # most stages of a trunk

_ATTENTION: Arguments = {
    "embedding_dim": WIDTH,
    "num_heads": HEADS,
    "downsample_rate": whole(1, 64),
    "dropout": SHARE,
    "kv_in_dim": either(NULL, WIDTH),
}

PARTS: dict[str, dict[type[nn.Module], Arguments]] = {
    "image encoder": {
        ImageEncoder: {"trunk": Part("trunk"), "neck": Part("neck"), "scalp": whole(0, STAGES)}
    },
    "trunk": {
        Hiera: {
            "embed_dim": WIDTH,
            "num_heads": HEADS,
            "drop_path_rate": SHARE,
            "q_pool": whole(0, STAGES),
            "q_stride": many(whole(1, 4), 2, 2),
            "stages": many(LAYERS, 1, STAGES),
            "dim_mul": real(0.5, 4),
            "head_mul": real(0.5, 4),
            "window_pos_embed_bkg_spatial_size": many(whole(1, 64), 2, 2),
            "window_spec": many(whole(0, 128), 1, STAGES),
            "global_att_blocks": either(NULL, many(whole(0, 1000), 0, 1000)),
            "weights_path": NULL,  # a file that Hiera itself would open
            "return_interm_layers": FLAG,
        },
        EfficientNetLite: {"variant": one_of(*VARIANTS)},
    },
    "neck": {
        FpnNeck: {
            "position_encoding": Part("position encoding"),
            "d_model": WIDTH,
            "backbone_channel_list": many(whole(1, 16384), 1, STAGES),
            "kernel_size": KERNEL,
            "stride": STRIDE,
            "padding": PADDING,
            "fpn_interp_model": one_of("nearest", "bilinear", "bicubic"),
            "fuse_type": one_of("sum", "avg"),
            "fpn_top_down_levels": either(NULL, many(whole(0, STAGES), 0, STAGES)),
        }
    },
    "position encoding": {
        PositionEmbeddingSine: {
            "num_pos_feats": WIDTH,
            "temperature": real(1, 1e9),
            "normalize": FLAG,
            "scale": either(NULL, real(0, 1e6)),
            "warmup_cache": FLAG,
            "image_size": whole(1, LARGEST_SIDE),
            "strides": many(STRIDE, 0, STAGES),
        }
    },
    "memory attention": {
        MemoryAttention: {
            "d_model": WIDTH,
            "pos_enc_at_input": FLAG,
            "layer": Part("memory attention layer"),
            "num_layers": LAYERS,
            "batch_first": FLAG,
        }
    },
    "memory attention layer": {
        MemoryAttentionLayer: {
            "activation": one_of("relu", "gelu"),
            "cross_attention": Part("attention"),
            "d_model": WIDTH,
            "dim_feedforward": whole(1, 16384),
            "dropout": SHARE,
            "pos_enc_at_attn": FLAG,
            "pos_enc_at_cross_attn_keys": FLAG,
            "pos_enc_at_cross_attn_queries": FLAG,
            "self_attention": Part("attention"),
        }
    },
    "attention": {
        Attention: _ATTENTION,
        RoPEAttention: {
            **_ATTENTION,
            "rope_theta": real(1, 1e9),
            "rope_k_repeat": FLAG,
            "feat_sizes": many(whole(1, LARGEST_SIDE // 16), 2, 2),
        },
    },
    "memory encoder": {
        MemoryEncoder: {
            "out_dim": WIDTH,
            "mask_downsampler": Part("mask downsampler"),
            "fuser": Part("fuser"),
            "position_encoding": Part("position encoding"),
            "in_dim": WIDTH,
        }
    },
    "mask downsampler": {
        MaskDownSampler: {
            "embed_dim": WIDTH,
            "kernel_size": KERNEL,
            "stride": STRIDE,
            "padding": PADDING,
            "total_stride": STRIDE,
        }
    },
    "fuser": {
        Fuser: {
            "layer": Part("fuser layer"),
            "num_layers": LAYERS,
            "dim": either(NULL, WIDTH),
            "input_projection": FLAG,
        }
    },
    "fuser layer": {
        CXBlock: {
            "dim": WIDTH,
            "kernel_size": KERNEL,
            "padding": PADDING,
            "drop_path": SHARE,
            "layer_scale_init_value": real(0, 1e6),
            "use_dwconv": FLAG,
        }
    },
    "mask motion": {MaskMotion: {"weight": SHARE, "contradicted": SHARE}},
    "target model": {
        TargetModel: {"weight": real(0, 1e6), "min_iou": SHARE, "min_confidence": SHARE}
    },
}
"""Role of a network part -> classes that can have it -> their arguments."""

NETWORK: Arguments = {
    "image_encoder": Part("image encoder"),
    "memory_attention": Part("memory attention"),
    "memory_encoder": Part("memory encoder"),
    "mask_motion": Part("mask motion"),
    "target_model": Part("target model"),
    "refine_prompts": FLAG,
    "num_maskmem": whole(2, 64),
    "image_size": whole(SMALLEST_SIDE, LARGEST_SIDE, multiple=SMALLEST_SIDE),
    "backbone_stride": STRIDE,
    "sigmoid_scale_for_mem_enc": real(-1e6, 1e6),
    "sigmoid_bias_for_mem_enc": real(-1e6, 1e6),
    "binarize_mask_from_pts_for_mem_enc": FLAG,
    "use_mask_input_as_output_without_sam": FLAG,
    "max_cond_frames_in_attn": either(one_of(-1), whole(2, 1000)),
    "directly_add_no_mem_embed": FLAG,
    "use_high_res_features_in_sam": FLAG,
    "multimask_output_in_sam": FLAG,
    "multimask_min_pt_num": whole(0, 1000),
    "multimask_max_pt_num": whole(0, 1000),
    "multimask_output_for_tracking": FLAG,
    "use_multimask_token_for_obj_ptr": FLAG,
    "iou_prediction_use_sigmoid": FLAG,
    # the streaming tracker follows no other value of these two
    "memory_temporal_stride_for_eval": one_of(1),
    "non_overlap_masks_for_mem_enc": one_of(False),
    "use_obj_ptrs_in_encoder": FLAG,
    "max_obj_ptrs_in_encoder": whole(2, 1000),
    "add_tpos_enc_to_obj_ptrs": FLAG,
    "proj_tpos_enc_in_obj_ptrs": FLAG,
    "use_signed_tpos_enc_to_obj_ptrs": FLAG,
    "only_obj_ptrs_in_the_past_for_eval": FLAG,
    "pred_obj_scores": FLAG,
    "pred_obj_scores_mlp": FLAG,
    "fixed_no_obj_ptr": FLAG,
    "soft_no_obj_ptr": FLAG,
    "use_mlp_for_obj_ptr_proj": FLAG,
    "no_obj_embed_spatial": FLAG,
    "sam_mask_decoder_extra_args": Table(
        "MaskDecoder",
        {
            "dynamic_multimask_via_stability": FLAG,
            "dynamic_multimask_stability_delta": real(0, 1e6),
            "dynamic_multimask_stability_thresh": SHARE,
        },
    ),
    "compile_image_encoder": FLAG,
    "num_frame_to_prune": Value(
        "left out, because it belongs to another program; give the number to EFP (--prune)",
        lambda _: False,
    ),
}
"""Arguments of the network itself, whatever subclass of `SAM2Base` it is."""

OWN_ARGUMENTS = ("mask_motion", "target_model", "refine_prompts")
"""The arguments of `SurgSAM2Network` that sam2's networks do not take; they add no weights."""


def build_network(config: Config, name: str, kind: type[Network], seed: int = 0) -> Network:
    """Build a network on the CPU with random weights, which are the same for the same seed.

    The state of torch's global random generator does not change.

    Args:
        config: arguments of the network, as `surgsam2.model.configs.load_config` returns them.
            Its own `_target_` is ignored: `kind` decides.
        name: name of the configuration, for messages.
        kind: class of the network.
        seed: seed of the random weights.

    Raises:
        InputError: `config` does not describe a network, or describes one with more than
            `MOST_NUMBERS` numbers; at most that many have been allocated then.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            part = _check_class(kind, config, NETWORK, "")
            with _Budget(MOST_NUMBERS):
                network: Network = part.build()
        except _MisfitError as error:
            raise InputError(f"config {name!r} does not describe a network: {error}") from error
    return network


@dataclass(frozen=True)
class _CheckedPart:
    """A network part whose class and arguments have all been accepted."""

    kind: type[nn.Module]
    arguments: dict[str, Any]
    """Plain values and `_CheckedPart`, in the order of the configuration. The order decides
    which part gets which random weights."""
    place: str
    """Where the part is in the configuration, for messages; empty for the network itself."""

    def build(self) -> Any:
        """Build the parts among the arguments, then this part."""
        arguments = {
            name: value.build() if isinstance(value, _CheckedPart) else value
            for name, value in self.arguments.items()
        }
        try:
            return self.kind(**arguments)
        except RuntimeError:
            raise  # PyTorch's word for a shortage of memory, which is not about the arguments
        except Exception as error:  # the constructors of the sam2 package raise many kinds
            raise_if_out_of_memory(error)
            reason = " ".join(str(error).split()) or "its arguments do not fit together"
            place = f"{self.place}: " if self.place else ""
            raise _MisfitError(place + reason[:_LONGEST_REASON]) from error


class _MisfitError(ValueError):
    """A configuration does not describe a network; the message says where and why."""


def _check_class(
    kind: type[nn.Module], node: Mapping[Any, Any], allowed: Arguments, place: str
) -> _CheckedPart:
    """Check the arguments of one class; the entry `_target_` is not one of them."""
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    return _CheckedPart(kind, _check_table(arguments, allowed, kind.__name__, place), place)


def _check_table(node: dict[Any, Any], allowed: Arguments, of: str, place: str) -> dict[str, Any]:
    """Copy a table of arguments of `of`, each of which must be allowed."""
    copy: dict[str, Any] = {}
    for key, value in node.items():
        kind = allowed.get(key) if type(key) is str else None
        within = f"{place}.{key}" if place else key
        match kind:
            case None:
                raise _MisfitError(
                    f"{place or 'model'} has the key {_shown(key)}, which is no argument of {of} "
                    "that a config may set"
                )
            case Part():
                copy[key] = _check_part(value, PARTS[kind.role], within)
            case Table():
                if value is not None and type(value) is not dict:
                    raise _MisfitError(f"{within} must be a table, got {_shown(value)}")
                copy[key] = value and _check_table(value, kind.arguments, kind.of, within)
            case Value():
                if not kind.accepts(value):
                    raise _MisfitError(f"{within} must be {kind.words}, got {_shown(value)}")
                copy[key] = list(value) if type(value) is list else value
    return copy


def _check_part(node: Any, classes: Mapping[type[nn.Module], Arguments], place: str) -> Any:
    """Check a table that names one of `classes`."""
    if type(node) is not dict:
        raise _MisfitError(f"{place} must be a table, got {_shown(node)}")
    target = node.get("_target_")
    for kind, allowed in classes.items():
        if target == _name_of(kind):
            return _check_class(kind, node, allowed, place)
    names = " or ".join(map(_name_of, classes))
    raise _MisfitError(f"{place}._target_ must be {names}, got {_shown(target)}")


def _name_of(kind: type[nn.Module]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class _Budget(TorchFunctionMode):
    """Stops a constructor that makes more than `most` numbers in all.

    Layers allocate their weights with `torch.empty`, which is stopped in advance. The other
    functions by which the parts of a network make tensors that they keep are counted afterwards:
    each of those tensors is small by the bounds of the arguments.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._made = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty:
            size = kwargs.get("size", args)
            self._count(math.prod(size[0] if isinstance(size[0], Sequence) else size))
        made = func(*args, **kwargs)
        if func in _KEPT:
            self._count(made.numel())
        return made

    def _count(self, numbers: int) -> None:
        self._made += numbers
        if self._made > self._most:
            raise _MisfitError(f"the network's tensors would hold more than {self._most} numbers")


_KEPT = {
    *(torch.zeros, torch.ones, torch.cat),
    *(torch.Tensor.clone, torch.Tensor.__deepcopy__),  # copies of a layer
}
_LONGEST_REASON = 300  # characters of a constructor's message
_LONGEST_SHOWN = 80  # characters of a value in a message

_repr = reprlib.Repr()
_repr.maxstring = _LONGEST_SHOWN


def _shown(value: Any) -> str:
    """Return a value as messages show it, in few characters."""
    text = _repr.repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
