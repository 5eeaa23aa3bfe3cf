"""Network configurations by name.

``sam2-hiera-<size>-<resolution>`` and ``sam2.1-hiera-<size>-<resolution>`` are the
installed `sam2` package's own YAML files at 512 or 1024 pixels;
``surgsam2-hiera-small-512`` is the published SurgSAM2 setting; ``lite`` is the network of the
built-in model, and ``demo`` another small one. A YAML file in the same form describes any other
network.

This module reads a configuration as plain data; `surgsam2.model.builder` checks that it
describes a network.
"""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path
from typing import Any

from surgsam2.errors import InputError
from surgsam2.storage.yaml_file import read_yaml

Config = dict[str, Any]
"""A network's class and arguments as plain data, in the form that hydra instantiates."""

SIZES = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}
"""Size of the image encoder, and what the `sam2` package calls it in the names of its files."""
FAMILIES = ("sam2", "sam2.1")
"""Families of SAM 2's networks; the `sam2` package has a folder of each name."""
RESOLUTIONS = (512, 1024)
SMALLEST_SIDE, LARGEST_SIDE = 32, 2048
"""Smallest and largest side of a network's square input in pixels, multiples of the smallest."""
NETWORK = "surgsam2.model.network.SurgSAM2Network"
_DEFAULT_SIDE = 512  # SAM2Base's default image_size
OWN_CONFIGS = ("demo", "lite")
"""Names of the configurations that come with this package."""

# SAM 2's own settings for interactive use (`apply_postprocessing` in its builder):
# fall back to the best of three masks when the single one is unstable, and remember
# a prompted mask as the user saw it
_INTERACTIVE: Config = {
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
    "binarize_mask_from_pts_for_mem_enc": True,
}


def config_names() -> list[str]:
    """Return all names of configurations, those of this package first."""
    sam2 = [
        f"{family}-hiera-{size}-{resolution}"
        for family in FAMILIES
        for size in SIZES
        for resolution in RESOLUTIONS
    ]
    return [*OWN_CONFIGS, "surgsam2-hiera-small-512", *sam2]


def load_config(name: str, image_size: int | None = None) -> Config:
    """Read a configuration with every setting in place, as `build_network` takes it.

    Args:
        name: one of `config_names`, or the path of a `.yaml` file with a `model` node, as
            in the `sam2` package, without interpolations.
        image_size: side of the network's square input in pixels; None keeps the configuration's.

    Raises:
        InputError: unknown name (the message lists the nearest ones), a file that is
            missing, unreadable or holds an interpolation, or a size that is no multiple of 32.
    """
    config = _config(name)
    if image_size is not None:
        _set_resolution(config, image_size, name)
    return _finished(config)


def _config(name: str) -> Config:
    """Read the configuration of a name or a file, with the settings that it states."""
    if Path(name).suffix in (".yaml", ".yml"):
        return _read(Path(name))
    if name not in config_names():
        if Path(name).suffix and Path(name).is_file():
            raise InputError(f"a configuration file has the ending .yaml, got {name!r}")
        near = difflib.get_close_matches(name, config_names(), n=3) or config_names()
        raise InputError(f"unknown config {name!r}; did you mean {', '.join(near)}?")
    if name in OWN_CONFIGS:
        return _read(Path(__file__).with_name(f"{name}.yaml"))
    # the published setting is the network of SAM 2.1 small at 512; what makes it
    # SurgSAM2 are its weights and pruning
    base = name.replace("surgsam2-hiera", "sam2.1-hiera")
    family, _, rest = base.partition("-hiera-")
    size, _, resolution = rest.rpartition("-")
    folder = Path(str(files("sam2"))) / "configs" / family
    config = _read(folder / f"{family}_hiera_{SIZES[size]}.yaml")
    _set_resolution(config, int(resolution), name)
    return config


def _finished(config: Config) -> Config:
    """Return a configuration with the settings that it leaves out; its own ones stay."""
    key = "sam_mask_decoder_extra_args"
    merged = {**_INTERACTIVE, **config, "_target_": NETWORK}
    if isinstance(merged[key], dict):
        merged[key] = {**_INTERACTIVE[key], **merged[key]}
    merged.setdefault("image_size", _DEFAULT_SIDE)
    return merged


def _read(path: Path) -> Config:
    """Read the `model` node of a YAML file.

    Raises:
        InputError: the file is missing, unreadable, without a `model` node or with interpolations.
    """
    content = read_yaml(path, "config")
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise InputError(f"{path}: a config needs a 'model' node, as in sam2's own YAML files")
    if _holds_interpolation(content):
        raise InputError(
            f"{path}: a config may not hold interpolations (${{...}}); write the values themselves"
        )
    config: Config = content["model"]
    return config


def _holds_interpolation(node: Any) -> bool:
    if isinstance(node, dict):
        return any(_holds_interpolation(part) for pair in node.items() for part in pair)
    if isinstance(node, list):
        return any(_holds_interpolation(part) for part in node)
    return isinstance(node, str) and "${" in node


def _set_resolution(config: Config, resolution: int, name: str) -> None:
    """Set the side of the input in pixels, and the size of the maps that memory attention gets.

    Raises:
        InputError: the side is no multiple of 32 within the limits, or the configuration has no
            memory attention.
    """
    if resolution % SMALLEST_SIDE or not SMALLEST_SIDE <= resolution <= LARGEST_SIDE:
        raise InputError(
            f"image_size must be a multiple of {SMALLEST_SIDE} from {SMALLEST_SIDE} to "
            f"{LARGEST_SIDE}, got {resolution}"
        )
    config["image_size"] = resolution
    feat = resolution // 16  # the backbone's stride
    try:
        layer = config["memory_attention"]["layer"]
        for attention in (layer["self_attention"], layer["cross_attention"]):
            attention["feat_sizes"] = [feat, feat]
    except (LookupError, TypeError) as error:
        raise InputError(
            f"config {name!r} does not describe a network: it has no memory_attention.layer with "
            "self_attention and cross_attention"
        ) from error
