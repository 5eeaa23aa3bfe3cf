"""Turns an error into a kind for programs and a sentence for people."""

from __future__ import annotations

import logging

from surgsam2.engine.protocol.events import FailureKind
from surgsam2.engine.protocol.framing import ProtocolError
from surgsam2.errors import (
    CheckpointError,
    DeviceError,
    DownloadError,
    InputError,
    MissingDependencyError,
    OutputError,
    PromptError,
    SurgSAM2Error,
    VideoError,
    shortage,
)

logger = logging.getLogger(__name__)

_KINDS: dict[type[SurgSAM2Error], FailureKind] = {
    ProtocolError: "protocol",
    InputError: "input",
    PromptError: "input",
    VideoError: "video",
    CheckpointError: "checkpoint",
    DownloadError: "checkpoint",
    DeviceError: "device",
    OutputError: "output",
    MissingDependencyError: "install",
}


def describe(error: BaseException, device: str = "this machine") -> tuple[FailureKind, str]:
    """Return kind and message of an error; an unforeseen one is also written to the log.

    Args:
        error: the error.
        device: the device that the model runs on, for the message.
    """
    short = shortage(error, device)
    if short is not None:
        return "memory", str(short)
    for kind, name in _KINDS.items():
        if isinstance(error, kind):
            return name, str(error)
    if isinstance(error, SurgSAM2Error):
        return "input", str(error)
    logger.error("an unforeseen error", exc_info=error)
    return "internal", f"an error that should not happen: {type(error).__name__}: {error}"
