"""The panel with an engine on another machine: a server process on this one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.extension.conftest import FRAMES
from tests.extension.test_widget import clip, panel  # noqa: F401 - fixtures
from tests.slicer_host.host import SlicerHost


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of ``surgsam2 serve`` in a process of its own; its token is in ``tokens``."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "surgsam2", "serve", "--port", "0",
            "--token-file", str(tmp_path / "tokens"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        end = time.monotonic() + 120
        for line in process.stdout:
            found = re.search(r"serving at (\S+) port (\d+)", line)
            if found:
                yield f"surgsam2://{found[1]}:{found[2]}"
                break
            assert time.monotonic() < end
    finally:
        process.terminate()
        process.wait(20)


def test_the_connection_is_tested_and_used(
    panel: Any,  # noqa: F811
    clip: Any,  # noqa: F811
    slicer_app: SlicerHost,
    settings: Any,
    server: str,
    tmp_path: Path,
) -> None:
    ui = panel.ui
    ui.engineAddressLineEdit.text = server
    ui.tokenPathLineEdit.currentPath = str(tmp_path / "tokens")
    ui.testEngineButton.click()
    assert not slicer_app.dialogs.texts
    assert re.search(r"surgsam2 \S+, .*run on cpu; an answer takes \d+ ms", ui.remoteLabel.text)
    ui.useEngineButton.click()
    assert not slicer_app.dialogs.texts, "nothing leaves this computer"
    assert ui.remoteLabel.text == f"The engine runs at {server}."
    panel.logic.setBox(1, [5, 45, 35, 75], frame=0)  # around the disc
    panel.context.refresh()
    assert ui.trackButton.enabled, ui.trackButton.toolTip
    ui.trackButton.click()
    assert panel.logic.wait(300)
    slicer_app.process_events(10)
    assert panel.logic.getMask(1, 2).any()
    assert ui.statusLabel.text == f"Finished: {FRAMES} frames"
    ui.engineAddressLineEdit.text = ""
    ui.useEngineButton.click()
    assert ui.remoteLabel.text == "The engine runs on this computer."


def test_the_user_is_asked_once_per_server(
    panel: Any,  # noqa: F811
    slicer_app: SlicerHost,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from SurgSAM2Lib.install.chosen_python import make_client
    from SurgSAM2Lib.install.remote_engine import saved_remote_engine

    monkeypatch.setenv("SURGSAM2_TOKEN", "a" * 32)
    panel.ui.engineAddressLineEdit.text = "surgsam2://gpu.example.org"
    slicer_app.dialogs.answers = [False]
    panel.ui.useEngineButton.click()
    assert "The video leaves this computer" in slicer_app.dialogs.texts[0]
    assert saved_remote_engine() is None
    panel.ui.useEngineButton.click()
    assert saved_remote_engine().address == "surgsam2://gpu.example.org"
    panel.ui.useEngineButton.click()
    assert len(slicer_app.dialogs.texts) == 2, "asked once more after the refusal, then never"
    assert make_client()._address.host == "gpu.example.org"
    assert panel.ui.downloadButton.isHidden(), "the models are over there"


@pytest.mark.parametrize(
    ("address", "token", "message"),
    [
        ("gpu.example.org", "", "is no address of an engine"),
        ("surgsam2://gpu.example.org", "missing", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_and_changes_nothing(
    panel: Any,  # noqa: F811
    slicer_app: SlicerHost,
    settings: Any,
    address: str,
    token: str,
    message: str,
) -> None:
    from SurgSAM2Lib.install.remote_engine import saved_remote_engine

    panel.ui.engineAddressLineEdit.text = address
    panel.ui.tokenPathLineEdit.currentPath = token
    panel.ui.useEngineButton.click()
    panel.ui.testEngineButton.click()
    assert len(slicer_app.dialogs.texts) == 2
    assert all(message in text for text in slicer_app.dialogs.texts)
    assert saved_remote_engine() is None
    assert panel.ui.remoteLabel.text == "The engine runs on this computer."


def test_nobody_answers(panel: Any, slicer_app: SlicerHost, settings: Any) -> None:  # noqa: F811
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    panel.ui.engineAddressLineEdit.text = f"surgsam2://127.0.0.1:{port}"
    panel.ui.testEngineButton.click()
    assert "127.0.0.1" in slicer_app.dialogs.texts[0]
    assert panel.ui.remoteLabel.text == "The engine runs on this computer."
    panel.ui.engineAddressLineEdit.text = ""
    panel.ui.testEngineButton.click()
    assert "there is no address" in slicer_app.dialogs.texts[1]
