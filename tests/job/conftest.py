"""A short video and a folder with its results, for the tests of runs into such a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from surgsam2.model.build import SurgSAM2Model
from tests.reliability.conftest import prompts_for_two, run, write_short_file


@pytest.fixture(scope="module")
def a_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_short_file(tmp_path_factory.mktemp("short") / "clip.mp4")


@pytest.fixture
def a_folder(a_model: SurgSAM2Model, a_file: Path, tmp_path: Path) -> Path:
    """Results of the frames 1 to 11."""
    run(a_model, a_file, prompts_for_two(), tmp_path / "out")
    return tmp_path / "out"
