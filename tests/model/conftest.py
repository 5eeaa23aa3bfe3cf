"""Fixtures for tests of the model."""

from __future__ import annotations

import pytest

from surgsam2.model.cpu import matmul


@pytest.fixture(params=["oneDNN", "MKL"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test with each library of matrix products, whichever is the faster one here."""
    monkeypatch.setattr(matmul, "prefers_onednn", lambda: request.param == "oneDNN")
