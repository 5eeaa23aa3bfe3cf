"""Packages that do not import, in plain words."""

from __future__ import annotations

from surgsam2.errors import MissingDependencyError


def missing_dependency(error: ImportError | OSError, wanted: str) -> MissingDependencyError | None:
    """The error to raise when an import fails; None when a module of our own is at fault.

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
