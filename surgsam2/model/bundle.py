"""Read which weights a MONAI bundle holds, and which network they belong to.

Only data is read. A bundle's ``$`` expressions are its author's code and are never run.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from surgsam2.errors import CheckpointError
from surgsam2.storage.json_text import parse_json

OWN = Path(__file__).parents[1] / "bundle"
"""The bundle that comes with this package."""
CONFIGURATION = Path("configs", "inference.json")
WEIGHTS = Path("models", "model.pt")
NETWORK = "surgsam2.monai_bundle.network.frame_network"
"""The class that `network_def` of a SurgSAM2 bundle names."""


class BundleModel(NamedTuple):
    """The model of a bundle."""

    weights: Path
    """File of the weights."""
    config: str
    """Name of a network configuration, or the path of the bundle's own YAML file."""
    image_size: int | None
    """Side of the network's square input in pixels; None for the configuration's own."""


def read_bundle(folder: Path) -> BundleModel:
    """Read the model of a bundle folder.

    Raises:
        CheckpointError: the folder is not a bundle, belongs to another network, or has no
            weights.
    """
    path = folder / CONFIGURATION
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: is a folder, but not a bundle (it has no {CONFIGURATION.as_posix()}); "
            "give a bundle's folder, or the checkpoint file in it"
        )
    try:
        network = parse_json(path.read_text(encoding="utf-8"))["network_def"]
        target, config, size = network["_target_"], network["config"], network["image_size"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"{path}: has no network_def of a SurgSAM2 model ({type(error).__name__}: {error}); "
            "give the checkpoint file and its config instead"
        ) from error
    if target != NETWORK:
        raise CheckpointError(f"{path}: network_def is {target!r}, should be {NETWORK!r}")
    if not isinstance(config, str) or not config or config[0] in "$@%":
        raise CheckpointError(
            f"{path}: the config of network_def must be a plain name, got {config!r}; "
            "expressions of a bundle are not run"
        )
    if size is not None and type(size) is not int:
        raise CheckpointError(f"{path}: image_size of network_def must be a number, got {size!r}")
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{weights}: the bundle's weights are missing; copy them there")
    return BundleModel(weights, config_in(folder, config), size)


def config_in(folder: str | Path, config: str) -> str:
    """Return the name of a configuration, or the path of a bundle's own YAML file.

    Args:
        folder: of the bundle.
        config: as the bundle names it, relative to the folder if it is a file.

    Raises:
        CheckpointError: the file lies outside the bundle.
    """
    if Path(config).suffix not in (".yaml", ".yml"):
        return config
    path = Path(folder) / config
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise CheckpointError(f"{folder}: its config {config!r} lies outside the bundle")
    return str(path)
