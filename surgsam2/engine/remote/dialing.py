"""How a connection to a server is made: over TCP with TLS, or through ssh."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from surgsam2.engine.remote.address import Address
from surgsam2.engine.transport.base import EngineError

_CHUNK = 2**18
_TCP_SECONDS = 15.0
"""Seconds in which a server must accept a connection, and answer."""
_SSH_SECONDS = 60.0
"""Seconds in which ssh must connect, and the program that it starts must answer."""
_END_SECONDS = 30.0
"""Seconds in which ssh ends by itself, once its streams are closed; it may still be connecting."""
_WORDS_SECONDS = 5.0
"""Seconds in which ssh ends, once it has closed its output."""


class Dialer(ABC):
    """Makes connections to one address, one after another; its methods wait."""

    @abstractmethod
    def dial(self) -> socket.socket:
        """Return a connected socket, whose timeout is that for the first answer.

        Raises:
            OSError: there is no connection.
            EngineError: there is none, and no later attempt can succeed.
        """

    @abstractmethod
    def explain(self, error: Exception) -> EngineError:
        """Return what to tell the user when the latest connection could not be made or used."""

    @staticmethod
    def may_retry(error: Exception) -> bool:
        """Return whether a later attempt may succeed where the latest one failed."""
        return not isinstance(error, EngineError | ssl.SSLCertVerificationError)


class TcpDialer(Dialer):
    """Connects to `surgsam2 serve`.

    Args:
        address: the server's address. Its own machine's is connected to without TLS, unless
            there are `authorities`.
        authorities: file with certificates of authorities that are trusted besides the system's;
            None trusts the system's alone.

    Raises:
        EngineError: the file of certificates cannot be read.
    """

    def __init__(self, address: Address, authorities: Path | None = None) -> None:
        self._address = address
        self._tls = None if address.is_loopback and authorities is None else _tls(authorities)

    def dial(self) -> socket.socket:
        """Connect, and check the certificate; see `Dialer.dial`."""
        address = (self._address.host, self._address.port or 0)
        connected = socket.create_connection(address, _TCP_SECONDS)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_hostname=self._address.host)
        except BaseException:
            connected.close()
            raise
        return connected

    def explain(self, error: Exception) -> EngineError:
        """Return the reason in plain words; see `Dialer.explain`."""
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = error.verify_message or "it is not trusted"
            return EngineError(
                "start",
                f"the certificate of {self._address} is not accepted ({reason}); give the "
                "certificate of its operator, and do not connect if it was accepted before",
            )
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        text = f"{self._address} does not answer as an engine should ({reason})"
        return EngineError("start", text)


class SshDialer(Dialer):
    """Connects to a session that the other machine keeps for this client; see `kept_session`.

    Args:
        address: the machine.
        python: the command there that has surgsam2.
        environment: environment variables of ssh; None takes this process's own.
    """

    def __init__(
        self,
        address: Address,
        python: str = "python3",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        target = f"{address.user}@{address.host}" if address.user else address.host
        port = ["-p", str(address.port)] if address.port else []
        self._address = address
        self._command = [
            "ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15",
            "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=4", *port, "--", target,
            f"{python} -m surgsam2.engine --kept-session",
        ]  # fmt: skip
        self._environment = None if environment is None else dict(environment)
        self._ssh: _Ssh | None = None

    def dial(self) -> socket.socket:
        """Start ssh; see `Dialer.dial`."""
        try:
            self._ssh = _Ssh(self._command, self._environment)
        except OSError as error:
            raise EngineError("start", f"ssh cannot be started ({error}); install it") from error
        connected = self._ssh.connect()
        connected.settimeout(_SSH_SECONDS)
        return connected

    def explain(self, error: Exception) -> EngineError:
        """Return what ssh said; see `Dialer.explain`."""
        if isinstance(error, EngineError) or self._ssh is None:
            return EngineError("start", str(error))
        said = self._ssh.last_words()
        if "HOST IDENTIFICATION HAS CHANGED" in said:
            return EngineError(
                "start",
                f"{self._address}: the machine shows another key than before, so ssh does not "
                "connect; nothing was sent. Ask its administrator whether the key was changed; if "
                f"so, remove the old one with: ssh-keygen -R {self._address.host}",
            )
        if "Host key verification failed" in said:
            return EngineError(
                "start",
                f"{self._address}: ssh does not know the key of this machine yet; connect once by "
                "hand to accept it",
            )
        reason = " ".join(said.split())[-300:] or str(error) or "no reason given"
        return EngineError("start", f"{self._address}: no engine could be started there ({reason})")


class _Ssh:
    """A process of ssh, whose standard streams are passed on to a socket.

    Pipes cannot be waited for together with sockets on every system, so threads copy.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: list[str], environment: dict[str, str] | None) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            start_new_session=True,  # Ctrl-C must not end it before the session is left
        )
        self._tail: deque[bytes] = deque(maxlen=40)
        self._said = threading.Thread(target=self._errors, name="surgsam2-ssh", daemon=True)

    def connect(self) -> socket.socket:
        """Return the socket; when it is closed, ssh ends."""
        here, there = socket.socketpair()
        for run in (self._to_process, self._from_process):
            threading.Thread(target=run, args=(there,), name="surgsam2-ssh", daemon=True).start()
        self._said.start()
        return here

    def last_words(self) -> str:
        """Return the last lines of ssh's error output, once it has ended."""
        self._said.join(_WORDS_SECONDS)
        return b"".join(self._tail).decode(errors="replace").strip()

    def _to_process(self, there: socket.socket) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while data := there.recv(_CHUNK):
                self._process.stdin.write(data)
                self._process.stdin.flush()
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _from_process(self, there: socket.socket) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while data := self._process.stdout.read1(_CHUNK):  # type: ignore[attr-defined]
                there.sendall(data)
        self._process.wait()
        with contextlib.suppress(OSError):
            there.shutdown(socket.SHUT_RDWR)
        there.close()

    def _errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._tail.append(line)


def _tls(authorities: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authorities is not None:
        try:
            context.load_verify_locations(authorities)
        except (OSError, ssl.SSLError) as error:
            text = f"{authorities}: cannot be read as certificates ({error})"
            raise EngineError("input", text) from error
    return context
