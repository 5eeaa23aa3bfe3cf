"""Turns an error into a kind for programs and a sentence for people."""

from __future__ import annotations

import logging
import sys

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
# the allocators of the CPU and of MPS raise plain RuntimeErrors
_ALLOCATOR_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


def describe(error: BaseException, device: str = "this machine") -> tuple[FailureKind, str]:
    """Return kind and message of an error; an unforeseen one is also written to the log.

    Args:
        error: the error.
        device: the device that the model runs on, for the message.
    """
    if is_out_of_memory(error):
        return "memory", (
            f"out of memory on {device}; use a smaller model or a 512-pixel config, fewer objects "
            "at a time, or another device"
        )
    for kind, name in _KINDS.items():
        if isinstance(error, kind):
            return name, str(error)
    if isinstance(error, SurgSAM2Error):
        return "input", str(error)
    logger.error("an unforeseen error", exc_info=error)
    return "internal", f"an error that should not happen: {type(error).__name__}: {error}"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error says that memory of the CPU or of a GPU ran out."""
    torch = sys.modules.get("torch")  # it may not be loaded yet
    if isinstance(error, MemoryError):
        return True
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _ALLOCATOR_WORDS)
