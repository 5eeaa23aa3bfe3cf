"""Every error this package raises on purpose.

Each class is a `SurgSAM2Error` and also the built-in exception a caller would
expect (`ValueError`, `OSError`, `RuntimeError`), so both ``except`` styles work.
A message names the file or argument, the value received and what to do.
Commands print the message on one line and exit with code 2.
"""

from __future__ import annotations


class SurgSAM2Error(Exception):
    """Base class of all errors raised by surgsam2."""


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
