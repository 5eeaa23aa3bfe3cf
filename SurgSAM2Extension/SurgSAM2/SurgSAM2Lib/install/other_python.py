"""Checking another Python environment before the engine uses it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from surgsam2.engine import Died, EngineClient, Failed, Ready
from SurgSAM2Lib.i18n import _

_TIMEOUT_SECONDS = 120.0
"""The first import of torch from a slow disk takes long."""


@dataclass(frozen=True)
class Answer:
    """The result of a check.

    Attributes:
        usable: whether the engine starts in that Python.
        text: what to tell the user.
    """

    usable: bool
    text: str


def checkPython(
    python: str | Path,
    keepAlive: Callable[[], None] = lambda: None,
    makeClient: Callable[[str], EngineClient] = EngineClient,
) -> Answer:
    """Start the engine in a Python once, and return what was found.

    Args:
        python: path of an interpreter.
        keepAlive: called while waiting, such as `slicer.app.processEvents`.
        makeClient: makes the client for an interpreter, as for tracking.
    """
    if not Path(python).is_file():
        return Answer(False, _("There is no file {python}.").format(python=python))
    client = makeClient(str(python))
    try:
        client.start()
        end = time.monotonic() + _TIMEOUT_SECONDS
        while time.monotonic() < end:
            for event in client.poll(0.05):
                answer = _answer(event)
                if answer is not None:
                    return answer
            keepAlive()
    finally:
        client.close()
    return Answer(False, _("{python} did not start within two minutes.").format(python=python))


def _answer(event: object) -> Answer | None:
    if isinstance(event, Ready):
        text = _("Ready: Python {python}, torch {torch}, surgsam2 {surgsam2}.").format(
            python=event.python, torch=event.torch, surgsam2=event.surgsam2
        )
        return Answer(True, text)
    if isinstance(event, Failed):
        return Answer(False, event.message)
    if isinstance(event, Died):
        tail = (event.stderr_tail.splitlines() or [""])[-1]
        return Answer(False, _("It ended at once. {reason}").format(reason=tail).strip())
    return None
