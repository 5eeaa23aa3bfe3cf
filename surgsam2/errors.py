"""Every error this package raises on purpose.

Each class is a `SurgSAM2Error` and also the built-in exception a caller would
expect (`ValueError`, `OSError`, `RuntimeError`), so both ``except`` styles work.
A message names the file or argument, the value received and what to do.
Commands print the message on one line and exit with code 2.
"""

from __future__ import annotations

import errno
import sys

# PyTorch's allocators on CPUs and on MPS, ITK and OpenCV raise errors of other kinds.
_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "failed to allocate memory",
    "insufficient memory",
    "bad_alloc",
)
_THREAD_WORDS = "can't start new thread"


LONGEST_MESSAGE = 2000
"""Number of characters of the longest message; of a longer one the middle is left out."""


def without_middle(text: str, most: int = LONGEST_MESSAGE) -> str:
    """Return a text of at most `most` characters; of a longer one the middle is left out."""
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"


class SurgSAM2Error(Exception):
    """Base class of all errors raised by surgsam2.

    A message may name values of a stranger's file; as text it has `LONGEST_MESSAGE` characters at
    most, wherever it is shown.
    """

    def __str__(self) -> str:
        return without_middle(super().__str__())


class InputError(SurgSAM2Error, ValueError):
    """An argument or option has a value that cannot be used."""


class ImageFileError(InputError):
    """An image file cannot be read, or is refused.

    Args:
        reason: what is wrong with it and what to do; kept as the attribute `reason`.
        path: the file.
    """

    def __init__(self, reason: str, path: object = "") -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.reason = reason


class PromptError(SurgSAM2Error, ValueError):
    """A prompt, or a prompt file, is not valid."""


class VideoError(SurgSAM2Error, OSError):
    """A video, image folder or image sequence cannot be read."""


class CheckpointError(SurgSAM2Error, ValueError):
    """A checkpoint cannot be read, or belongs to another model."""


class DownloadError(SurgSAM2Error, OSError):
    """A known checkpoint could not be fetched or did not verify."""


class DeviceError(SurgSAM2Error, RuntimeError):
    """The requested device does not exist or cannot be used."""


class OutputError(SurgSAM2Error, OSError):
    """A result cannot be written."""


class DatasetError(SurgSAM2Error, ValueError):
    """A dataset folder does not have the expected layout or content."""


class MissingDependencyError(SurgSAM2Error, RuntimeError):
    """A package that this function needs is not installed or is broken."""


def missing_dependency(error: ImportError | OSError, wanted: str) -> MissingDependencyError | None:
    """Return the error to raise when an import fails, or None when a module of ours fails.

    Args:
        error: what the import raised; a broken binary package may raise OSError.
        wanted: what the user asked for, such as ``surgsam2.load_model``.
    """
    package = str(getattr(error, "name", None) or "").partition(".")[0]
    if package == "surgsam2":
        return None
    named = f"the package {package!r}" if package else "a package"
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return MissingDependencyError(
        f"{wanted} needs {named}, which is not installed or is broken ({reason}); "
        "to see what to do, run: surgsam2 doctor"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, of whatever library, says that memory ran out."""
    torch = sys.modules.get("torch")  # It may not be loaded.
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return not isinstance(error, SurgSAM2Error) and any(words in text for words in _MEMORY_WORDS)


def raise_if_out_of_memory(error: BaseException) -> None:
    """Raise `MemoryError` for an error that says so, before it is taken for a damaged file."""
    if is_out_of_memory(error):
        raise MemoryError(str(error) or "out of memory") from error


def shortage(error: BaseException, device: str = "this machine") -> DeviceError | None:
    """Return the error to raise when memory or threads ran out; None for every other error.

    Args:
        error: the error.
        device: the device that ran out of memory, for the message.
    """
    if is_out_of_memory(error):
        return DeviceError(
            f"out of memory on {device}; free memory and begin again or resume, or use a smaller "
            "model or a 512-pixel config, fewer objects at a time, or another device"
        )
    if isinstance(error, RuntimeError) and _THREAD_WORDS in str(error):
        return DeviceError(
            "the system refuses another thread; end other programs, raise the limit on processes "
            "(ulimit -u), or set OMP_NUM_THREADS=1"
        )
    return None
