"""What went wrong, as a kind for programs and a sentence for people."""

from __future__ import annotations

import logging

import torch

from surgsam2.engine.protocol.events import FailureKind
from surgsam2.engine.protocol.messages import ProtocolError
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
# the CPU's and MPS's allocators raise plain RuntimeErrors
_ALLOCATOR_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


def describe(error: Exception, device: str) -> tuple[FailureKind, str]:
    """Kind and message of an error; one that is not foreseen is also written to the log.

    Args:
        device: what the model runs on.
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
    logger.error("not foreseen", exc_info=error)
    return "internal", f"an error that should not happen: {type(error).__name__}: {error}"


def is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _ALLOCATOR_WORDS)
