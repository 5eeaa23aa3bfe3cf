"""Another Python environment for the engine, so that Slicer's own stays as it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from surgsam2.engine import Died, EngineClient, Failed, Ready
from SurgSAM2Lib.i18n import _

_PATIENCE = 120.0
"""Seconds. A first import of torch from a slow disk takes long."""


@dataclass(frozen=True)
class Answer:
    """Whether the engine starts there, and what to tell the user."""

    usable: bool
    text: str


def checkPython(
    python: str | Path,
    keepAlive: Callable[[], None] = lambda: None,
    makeClient: Callable[[str], EngineClient] = EngineClient,
) -> Answer:
    """Start the engine in that Python, once, and say what was found.

    Args:
        python: path of an interpreter.
        keepAlive: called while waiting, such as `slicer.app.processEvents`.
        makeClient: how the engine is started; the same as for real work.
    """
    if not Path(python).is_file():
        return Answer(False, _("There is no file {python}.").format(python=python))
    client = makeClient(str(python))
    try:
        client.start()
        end = time.monotonic() + _PATIENCE
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
