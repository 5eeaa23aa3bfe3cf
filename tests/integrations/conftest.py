"""A small bundle, which is quick enough for the tests of the adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from surgsam2.export.bundle_folder import write_bundle


@pytest.fixture(scope="session")
def a_bundle(demo_weights: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a bundle of the demo network at 128 pixels with `demo_weights`."""
    folder = tmp_path_factory.mktemp("bundles") / "small"
    write_bundle(folder, demo_weights, "demo", 128)
    return folder
