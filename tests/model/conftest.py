"""What several tests of the model need."""

from __future__ import annotations

import pytest

from surgsam2.model.cpu import matmul as products


@pytest.fixture(params=["oneDNN", "MKL"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both, whichever is the faster one here."""
    monkeypatch.setattr(products, "by_onednn", lambda: request.param == "oneDNN")
