"""`surgsam2 bundle` writes a model as a MONAI bundle, a folder or a zip file."""

from __future__ import annotations

import argparse
from pathlib import Path

from surgsam2.commands.arguments import add_options, read_options
from surgsam2.model.options import ModelOptions
from surgsam2.version import __version__


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `bundle`."""
    parser = subparsers.add_parser("bundle", help="pack a model as a MONAI bundle")
    parser.add_argument(
        "--output", default=f"surgsam2_segmentation_v{__version__}.zip",
        help="zip file or new folder (%(default)s)",
    )  # fmt: skip
    add_options(parser, ModelOptions, "model", only=("model", "config"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the bundle and print its path."""
    from surgsam2.export.bundle_folder import copy_bundle, zip_bundle
    from surgsam2.storage.temporary import TemporaryFolder

    output, options = Path(args.output), read_options(ModelOptions, args)
    with TemporaryFolder() as temporary:
        source = _bundle_of(options.model, options.config, temporary / "bundle")
        if output.suffix == ".zip":
            zip_bundle(source, output)
        else:
            copy_bundle(source, output)
    print(output)
    return 0


def _bundle_of(name: str, config: str | None, made: Path) -> Path:
    """Return the folder of the bundle that the model is in, or of a new one written to `made`."""
    from surgsam2.errors import CheckpointError
    from surgsam2.export.bundle_folder import write_bundle
    from surgsam2.model.build import locate
    from surgsam2.model.builder import build_network
    from surgsam2.model.bundle import OWN
    from surgsam2.model.checkpoint import infer_config, load_state, read_checkpoint
    from surgsam2.model.configs import load_config
    from surgsam2.model.network import SurgSAM2Network

    weights, own_config, _ = locate(name)
    if weights is None:
        raise CheckpointError("the built-in model's weights are missing here")
    if config is None and (name == "demo" or Path(name).is_dir()):
        return OWN if name == "demo" else Path(name)
    state = read_checkpoint(weights)
    chosen = config or own_config or infer_config(state, weights)
    network = build_network(load_config(chosen), chosen, SurgSAM2Network)
    load_state(network, state, path=weights, config_name=chosen)
    write_bundle(made, state, chosen)
    return made
