"""Network configurations by name.

``sam2-hiera-<size>-<resolution>`` and ``sam2.1-hiera-<size>-<resolution>`` are the
installed `sam2` package's own YAML files at 512 or 1024 pixels;
``surgsam2-hiera-small-512`` is the published SurgSAM2 setting; ``demo`` is the small
network of the built-in model. A network of one's own is a YAML file in the same form.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import AliasEvent, YAMLError

from surgsam2.errors import InputError

SIZES = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}
FAMILIES = {"sam2": "sam2", "sam2.1": "sam2.1"}
RESOLUTIONS = (512, 1024)
NETWORK = "surgsam2.model.network.SurgSAM2Network"

# SAM 2's own settings for interactive use (`apply_postprocessing` in its builder):
# fall back to the best of three masks when the single one is unstable, and remember
# a prompted mask as the user saw it
_INTERACTIVE = {
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
    "binarize_mask_from_pts_for_mem_enc": True,
}
# settings that the streaming tracker does not have, with the value it stands for
_FIXED = {"memory_temporal_stride_for_eval": 1, "non_overlap_masks_for_mem_enc": False}

_RANGES: dict[str, tuple[Callable[[int], bool], str]] = {
    "image_size": (lambda v: v > 0 and v % 32 == 0, "a multiple of 32"),
    "num_maskmem": (lambda v: v >= 2, "2 or more"),
    "max_obj_ptrs_in_encoder": (lambda v: v >= 2, "2 or more"),
    "max_cond_frames_in_attn": (lambda v: v == -1 or v >= 2, "-1 (no limit), or 2 or more"),
}


def config_names() -> list[str]:
    """All configuration names, the built-in model's first."""
    sam2 = [
        f"{family}-hiera-{size}-{resolution}"
        for family in FAMILIES
        for size in SIZES
        for resolution in RESOLUTIONS
    ]
    return ["demo", "surgsam2-hiera-small-512", *sam2]


def load_config(name: str, image_size: int | None = None) -> DictConfig:
    """The resolved configuration, as `hydra.utils.instantiate` takes it.

    Args:
        name: one of `config_names`, or the path of a `.yaml` file with a `model` node, as
            in the `sam2` package. Its `_target_` entries may only name network classes that
            `sam2.modeling` defines.
        image_size: side of the network's square input in pixels; None for its own.

    Raises:
        InputError: unknown name (the message lists the nearest ones), a file that is
            missing, unreadable or names other code, or a size that is no multiple of 32.
    """
    config = _config(name)
    if image_size is not None:
        try:
            _set_resolution(config, image_size)
        except OmegaConfBaseException as error:
            reason = " ".join(str(error).split())
            raise InputError(f"config {name!r} does not describe a network: {reason}") from error
    return _finished(config)


def _config(name: str) -> DictConfig:
    if Path(name).suffix in (".yaml", ".yml"):
        return _own_config(Path(name))
    if name not in config_names():
        if Path(name).suffix and Path(name).is_file():
            raise InputError(f"a configuration file has the ending .yaml, got {name!r}")
        near = difflib.get_close_matches(name, config_names(), n=3) or config_names()
        raise InputError(f"unknown config {name!r}; did you mean {', '.join(near)}?")
    if name == "demo":
        return _read(files("surgsam2.model") / "demo.yaml")
    # the published setting is the network of SAM 2.1 small at 512; what makes it
    # SurgSAM2 are its weights and pruning
    base = name.replace("surgsam2-hiera", "sam2.1-hiera")
    family, _, rest = base.partition("-hiera-")
    size, _, resolution = rest.rpartition("-")
    config = _read(
        files("sam2") / "configs" / FAMILIES[family] / f"{family}_hiera_{SIZES[size]}.yaml"
    )
    _set_resolution(config, int(resolution))
    return config


def check_config(config: DictConfig) -> None:
    """Refuse settings that the streaming tracker does not follow.

    Raises:
        InputError: naming the setting, its value and the value to use.
    """
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            raise InputError(f"config setting {key} must be {value}, got {config[key]!r}")
    for key, (allowed, what) in _RANGES.items():
        if key in config and not (isinstance(config[key], int) and allowed(config[key])):
            raise InputError(f"config setting {key} must be {what}, got {config[key]!r}")
    if "num_frame_to_prune" in config:
        raise InputError(
            "config setting num_frame_to_prune belongs to another program; remove it and give the "
            "number to EFP (--prune)"
        )


def _finished(config: DictConfig) -> DictConfig:
    merged = OmegaConf.merge(_INTERACTIVE, config, {"_target_": NETWORK})
    assert isinstance(merged, DictConfig)
    OmegaConf.resolve(merged)
    return merged


def _read(path: Any) -> DictConfig:
    config = OmegaConf.create(path.read_text(encoding="utf-8"))
    assert isinstance(config, DictConfig)
    return config.model


def _own_config(path: Path) -> DictConfig:
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, AliasEvent) for event in yaml.parse(text)):
            raise ValueError("YAML aliases are not accepted: they can grow without bound")
        config = OmegaConf.create(text)
        OmegaConf.resolve(config)
    except (
        # AssertionError is what OmegaConf says to a file that holds a single number
        *(OSError, ValueError, RecursionError, AssertionError),
        *(YAMLError, OmegaConfBaseException),
    ) as error:
        reason = " ".join(str(error).split()) or "it is not a table of settings"
        raise InputError(f"{path}: the config cannot be read ({reason})") from error
    if not isinstance(config, DictConfig) or not isinstance(config.get("model"), DictConfig):
        raise InputError(f"{path}: a config needs a 'model' node, as in sam2's own YAML files")
    for target in _targets(OmegaConf.to_container(config.model)):
        if not _is_network_class(target):
            raise InputError(
                f"{path}: _target_ {target!r} is refused; a config may only name network classes "
                "of sam2 (sam2.modeling...)"
            )
    return config.model


def _is_network_class(target: Any) -> bool:
    """Whether `target` names a class that `sam2.modeling` defines.

    The prefix alone says nothing: ``sam2.build_sam.os.system`` begins with sam2, too.
    """
    module, _, name = str(target).rpartition(".")
    if not module.startswith("sam2.modeling."):
        return False
    try:
        found = getattr(import_module(module), name, None)
    except (ImportError, ValueError):
        return False
    return isinstance(found, type) and found.__module__ == module


def _targets(node: Any) -> Iterator[Any]:
    """All `_target_` entries below a node but its own, which is replaced."""
    children = node.items() if isinstance(node, dict) else enumerate(node)
    for _, child in children:
        if isinstance(child, dict | list):
            if isinstance(child, dict) and "_target_" in child:
                yield child["_target_"]
            yield from _targets(child)


def _set_resolution(config: DictConfig, resolution: int) -> None:
    if resolution < 32 or resolution % 32:
        raise InputError(f"image_size must be a multiple of 32, got {resolution}")
    config.image_size = resolution
    feat = resolution // 16  # the backbone's stride
    layer = config.memory_attention.layer
    layer.self_attention.feat_sizes = [feat, feat]
    layer.cross_attention.feat_sizes = [feat, feat]
