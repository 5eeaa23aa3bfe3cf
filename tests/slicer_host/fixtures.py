"""The test host as pytest fixtures; a `conftest.py` imports them by name."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Iterator

import pytest

from .host import SlicerHost

_MISSING = [name for name in ("slicer", "PySide6") if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="session")
def slicer_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlicerHost]:
    """The host of the whole run: a process can have only one application and one scene."""
    if _MISSING:
        pytest.skip(f"{' and '.join(_MISSING)} not installed: pip install -e '.[dev]'")
    host = SlicerHost(tmp_path_factory.mktemp("slicer"))
    gc.collect()
    gc.freeze()  # the collections between tests need not look at what is there now
    yield host
    host.close()


@pytest.fixture
def slicer_app(slicer_host: SlicerHost) -> Iterator[SlicerHost]:
    """The host with an empty scene. Errors in slots and observers make the test fail."""
    # unused widgets are collected between tests, never while an observer of VTK
    # is about to call one of them
    gc.collect()
    gc.disable()
    try:
        slicer_host.reset()
        yield slicer_host
        slicer_host.process_events()
    finally:
        gc.enable()
    assert not slicer_host.slot_errors, "\n".join(slicer_host.slot_errors)
