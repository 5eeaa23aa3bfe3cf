"""Errors of an installation, explained for the user."""

from __future__ import annotations

import re

from surgsam2.errors import SurgSAM2Error
from SurgSAM2Lib.i18n import _


class InstallError(SurgSAM2Error, RuntimeError):
    """A package could not be installed; the message says why and what to do."""


def plainWords(log: str) -> str:
    """Return the reason why pip failed, and what to do.

    Args:
        log: everything that pip printed. Its last error line is quoted when the reason is
            none of the known ones.
    """
    for pattern, reason in _reasons():
        if re.search(pattern, log, re.IGNORECASE):
            return reason
    errors = [line.strip() for line in log.splitlines() if re.match(r"\s*ERROR", line)]
    last = errors[-1] if errors else _("pip gave no reason")
    return _("The installation stopped: {last}. The Python console shows all of it.").format(
        last=last.removeprefix("ERROR:").strip().rstrip(".")
    )


def _reasons() -> tuple[tuple[str, str], ...]:
    """Return patterns and texts. The first match counts, so causes precede consequences."""
    return (
        (
            r"no space left|errno 28|not enough space|disk full",
            _("The disk is full. Free some space, then try again."),
        ),
        (
            r"permission denied|access is denied|errno 13|winerror (5|32)\b",
            _(
                "Slicer's folder cannot be written, or a file in it is in use. Close other "
                "Slicer windows; if Slicer was installed for all users, start it once as "
                "administrator or install it into a folder of your own. Then try again."
            ),
        ),
        (
            r"proxyerror|tunnel connection failed|407 proxy",
            _("The network's proxy refused the connection. Check its settings, then try again."),
        ),
        (
            r"certificate_verify_failed|sslerror",
            _(
                "The download server's certificate was not accepted. A firewall that looks "
                "into connections can cause this; ask whoever runs the network."
            ),
        ),
        (
            r"name resolution|getaddrinfo|newconnectionerror|max retries exceeded|"
            r"timed out|connection (aborted|reset|refused)|network is unreachable",
            _("There is no connection to the internet. Check it, then try again."),
        ),
        (
            r"resolutionimpossible|conflicting dependencies",
            _(
                "Another extension needs other versions of the same packages. Use a Python "
                "environment of its own instead: section Installation, Another Python."
            ),
        ),
        (
            r"failed building wheel|failed to build|metadata-generation-failed",
            _("A package could not be built on this computer. The Python console shows why."),
        ),
        (
            r"no matching distribution",
            _("A package is not offered for this Slicer's Python and system."),
        ),
    )
