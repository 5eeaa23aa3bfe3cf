"""The engine on another machine: its address in the settings, and a test of the connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import qt

from surgsam2.engine import (
    ConnectionChanged,
    Died,
    EngineClient,
    Event,
    Failed,
    ModelLoaded,
    Ready,
)
from surgsam2.engine.remote.address import Address
from surgsam2.engine.remote.tokens import client_token, read_tokens
from surgsam2.errors import SurgSAM2Error
from SurgSAM2Lib.i18n import _

ADDRESS_SETTING = "SurgSAM2/engineAddress"
"""Application setting: address of the engine; empty for an engine on this computer."""
TOKEN_SETTING = "SurgSAM2/engineTokenFile"
"""Application setting: path of a file with the server's token."""
AUTHORITIES_SETTING = "SurgSAM2/engineCertificates"
"""Application setting: path of a file with certificates that are trusted for the server."""
CONSENT_SETTING = "SurgSAM2/engineConsent"
"""Application setting: servers that the user has agreed to send videos to, one a line."""
_TIMEOUT_SECONDS = 120.0
_EventType = TypeVar("_EventType", bound=Event)


class NoConnectionError(SurgSAM2Error, RuntimeError):
    """There is no engine at an address, or it cannot be used."""


@dataclass(frozen=True)
class RemoteEngine:
    """Where an engine on another machine is, and what it wants to see.

    Attributes:
        address: ``ssh://user@host`` or ``surgsam2://host:port``.
        token_file: path of a file whose first line is the server's token; empty to take the
            token from the environment.
        authorities: path of a file with certificates; empty for those of the system.
    """

    address: str
    token_file: str = ""
    authorities: str = ""

    def client(self, environment: Mapping[str, str]) -> EngineClient:
        """Return a client that has not been started.

        Args:
            environment: environment variables for ssh.

        Raises:
            InputError: the address is none, or the token cannot be read.
        """
        place = Address.parse(self.address)
        token = ""
        if place.scheme == "surgsam2":
            token = read_tokens(Path(self.token_file))[0] if self.token_file else client_token()
        return EngineClient(
            None, environment,
            address=self.address, token=token, authorities=self.authorities or None,
        )  # fmt: skip

    @property
    def needs_consent(self) -> bool:
        """Whether the user has not agreed yet that videos are sent there.

        Raises:
            InputError: the address is none.
        """
        place = Address.parse(self.address)
        agreed = (qt.QSettings().value(CONSENT_SETTING, "") or "").splitlines()
        return not place.is_loopback and str(place) not in agreed

    def remember_consent(self) -> None:
        """Remember that the user has agreed."""
        agreed = (qt.QSettings().value(CONSENT_SETTING, "") or "").splitlines()
        text = "\n".join(dict.fromkeys([*agreed, str(Address.parse(self.address))]))
        qt.QSettings().setValue(CONSENT_SETTING, text)

    def save(self) -> None:
        """Use this engine from now on; an empty address stands for this computer."""
        settings = qt.QSettings()
        settings.setValue(ADDRESS_SETTING, self.address)
        settings.setValue(TOKEN_SETTING, self.token_file)
        settings.setValue(AUTHORITIES_SETTING, self.authorities)


def saved_remote_engine() -> RemoteEngine | None:
    """Return the engine on another machine that the user chose; None for this computer."""
    settings = qt.QSettings()
    values = [
        settings.value(name, "") or ""
        for name in (ADDRESS_SETTING, TOKEN_SETTING, AUTHORITIES_SETTING)
    ]
    return RemoteEngine(*values) if values[0] else None


def check_connection(client: EngineClient, keep_alive: Callable[[], None] = lambda: None) -> str:
    """Connect, load the built-in model and measure one answer; return what was found.

    Args:
        client: a client that has not been started; it is closed at the end.
        keep_alive: called while waiting, such as `slicer.app.processEvents`.

    Raises:
        NoConnectionError: there is no engine, or it cannot be used; the message says why.
    """
    try:
        client.start()
        ready = _wait(client, Ready, keep_alive)
        client.load_model("demo")
        model = _wait(client, ModelLoaded, keep_alive)
        start = time.perf_counter()
        client.live_remove(1)  # without a live session the answer is a refusal
        _wait(client, Failed, keep_alive)
        milliseconds = 1000 * (time.perf_counter() - start)
    finally:
        client.close()
    return _(
        "Connected: surgsam2 {surgsam2}, Python {python}, torch {torch}; models run on {device}; "
        "an answer takes {time} ms."
    ).format(
        surgsam2=ready.surgsam2, python=ready.python, torch=ready.torch, device=model.device,
        time=f"{milliseconds:.0f}",
    )  # fmt: skip


def _wait(
    client: EngineClient, kind: type[_EventType], keep_alive: Callable[[], None]
) -> _EventType:
    end = time.monotonic() + _TIMEOUT_SECONDS
    news = ""
    while time.monotonic() < end:
        for event in client.poll(0.05):
            if isinstance(event, kind):
                return event
            if isinstance(event, Failed):
                raise NoConnectionError(event.message)
            if isinstance(event, Died):
                reason = (event.stderr_tail.splitlines() or [""])[-1]
                raise NoConnectionError(
                    _("The engine ended at once. {reason}").format(reason=reason)
                )
            if isinstance(event, ConnectionChanged):
                news = event.message
        keep_alive()
    raise NoConnectionError(_("There was no answer within two minutes. {news}").format(news=news))
