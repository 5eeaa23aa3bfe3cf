"""Sessions that ssh reaches: the other machine keeps one while the connection is lost.

ssh starts `main`, which passes its standard streams on to a *keeper*: a server for one session, in
a process of its own that ssh does not end. Its socket is a file in a folder that no other user
can open, and is called after the session's token. The keeper starts with the session and ends
with it, or when the client does not come back.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from surgsam2.engine.protocol.framing import PacketDecoder, ProtocolError
from surgsam2.engine.remote.greeting import SESSION_ENDED, Attach, Refused, read_packet, to_bytes
from surgsam2.engine.remote.server import EngineServer, ServerLimits

KEEPER = "--keeper"
"""Argument of ``python -m surgsam2.engine`` that makes it a keeper."""
_CHUNK = 2**18
_START_SECONDS = 30.0
"""Seconds in which the first client of a keeper must come."""
_LOOK_SECONDS = 0.2
"""Seconds between two looks of a keeper at its session."""
_READY = b"ready"


def main(arguments: list[str]) -> None:
    """Pass the standard streams on to the client's keeper, until one side ends; never returns.

    Args:
        arguments: arguments of the engine process.
    """
    if not hasattr(socket, "AF_UNIX"):
        _fail("engines that ssh starts need Linux or macOS; here, run surgsam2 serve instead")
    received, attach = _greeting()
    try:
        place = _private_folder() / hashlib.sha256(attach.token.encode()).hexdigest()[:16]
        connected = _connected(place)
        if connected is None and attach.session is not None:
            _write_out(to_bytes(Refused("crash", SESSION_ENDED)))
            os._exit(0)
        if connected is None:
            _start_keeper(place, attach.token, arguments)
            connected = _connected(place)
        if connected is None:
            raise OSError("the process that keeps it does not answer")
        connected.sendall(received)
    except OSError as error:
        _fail(f"the session cannot be begun ({error})")
    assert connected is not None
    threading.Thread(target=_pass_on, args=(connected,), daemon=True).start()
    with contextlib.suppress(OSError):
        while data := connected.recv(_CHUNK):
            _write_out(data)
    os._exit(0)  # the other thread may wait for standard input


def keep(arguments: list[str]) -> None:
    """Keep one session, until it ends or its client does not come back.

    The first line of standard input is the token. On standard output comes ``ready`` once the
    socket is there, or the reason why it cannot be.

    Args:
        arguments: the path of the socket, then arguments of the engine process.
    """
    place = Path(arguments[0])
    token = sys.stdin.buffer.readline().decode().strip()
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            place.unlink(missing_ok=True)  # a keeper that was killed has left it
            listener.bind(str(place))
            listener.listen()
        except OSError as error:  # such as a path that is too long
            _write_out(f"{place}: {error}".encode())
            return
        _write_out(_READY)
        with Path(os.devnull).open("wb") as nothing:  # whoever reads it waits for the end
            os.dup2(nothing.fileno(), 1)
        server = EngineServer(
            listener, [token], arguments=arguments[1:], limits=ServerLimits(sessions=1, queue=0)
        )
        threading.Thread(target=_close_at_end, args=(server,), daemon=True).start()
        server.run()
    place.unlink(missing_ok=True)


def _close_at_end(server: EngineServer) -> None:
    deadline = time.monotonic() + _START_SECONDS
    # a session runs before it is counted, so this order misses none that begins meanwhile
    while not server.statistics.sessions and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    while server.running:
        time.sleep(_LOOK_SECONDS)
    server.close()


def _greeting() -> tuple[bytes, Attach]:
    """Return the client's first packet, as bytes and as a message."""
    decoder, received = PacketDecoder(), b""
    try:
        while data := os.read(0, _CHUNK):
            received += data
            decoder.feed(data)
            for packet in decoder.packets():
                attach = read_packet(packet, Attach)
                if isinstance(attach, Attach):
                    return received, attach
                raise ProtocolError("it begins with another packet")
    except ProtocolError as error:
        _fail(f"the other side is no client of surgsam2 ({error})")
    os._exit(0)  # it has gone


def _private_folder() -> Path:
    """Return the folder of the sockets, which only this user can open.

    Raises:
        OSError: it cannot be made, or is another user's.
    """
    folder = Path(tempfile.gettempdir()) / f"surgsam2-sessions-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    if not is_private or found.st_uid != os.getuid():
        raise OSError(f"{folder} is open to other users; remove it")
    return folder


def _connected(place: Path) -> socket.socket | None:
    """Return a connection to the keeper; None when there is no keeper."""
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.connect(str(place))
    except OSError:
        connected.close()
        return None
    return connected


def _start_keeper(place: Path, token: str, arguments: list[str]) -> None:
    """Start a keeper that outlives this process, and wait until it listens."""
    keeper = subprocess.Popen(
        [sys.executable, "-m", "surgsam2.engine", KEEPER, str(place), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # ssh would wait for whoever holds its streams
        start_new_session=True,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    keeper.stdin.write(token.encode() + b"\n")
    keeper.stdin.close()
    said = keeper.stdout.read()
    if said != _READY:
        raise OSError(said.decode(errors="replace") or "the process that keeps it ended at once")


def _pass_on(connected: socket.socket) -> None:
    """Send what arrives on standard input, until it ends."""
    with contextlib.suppress(OSError):
        while data := os.read(0, _CHUNK):
            connected.sendall(data)
        connected.shutdown(socket.SHUT_WR)  # the keeper reads what is left, then closes


def _write_out(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


def _fail(message: str) -> None:
    """End the process; ssh shows the message to the client."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(1)
