"""Addresses of engines on other machines."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from surgsam2.errors import InputError

DEFAULT_PORT = 7462
"""Port of `surgsam2 serve`."""
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,254}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Address:
    """Where an engine runs.

    Attributes:
        scheme: ``ssh`` starts an engine through ssh; ``surgsam2`` connects to a server.
        host: name or IP address of the machine.
        port: TCP port; None is ssh's own, or `DEFAULT_PORT`.
        user: name of the user for ssh; None is ssh's own choice.
    """

    scheme: Literal["ssh", "surgsam2"]
    host: str
    port: int | None = None
    user: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address such as ``ssh://user@host`` or ``surgsam2://host:port``.

        Raises:
            InputError: the text is no such address.
        """
        form = "write ssh://user@host or surgsam2://host:port"
        refused = f"{text!r:.200} is no address of an engine"
        try:
            parts = urlsplit(text)
            host, port, user = parts.hostname or "", parts.port, parts.username
        except ValueError as error:
            raise InputError(f"{refused} ({error}); {form}") from error
        extra = parts.path.strip("/") or parts.query or parts.fragment or parts.password is not None
        # names that begin with a hyphen would be options of ssh
        if extra or not _HOST.fullmatch(host) or (user is not None and not _USER.fullmatch(user)):
            raise InputError(f"{refused}; {form}")
        if parts.scheme == "ssh":
            return cls("ssh", host, port, user)
        if parts.scheme == "surgsam2" and user is None:
            return cls("surgsam2", host, port or DEFAULT_PORT)
        raise InputError(f"{refused}; {form}")

    @property
    def is_loopback(self) -> bool:
        """Whether the address is this machine's own, so that nothing leaves it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}{f':{self.port}' if self.port else ''}"


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
