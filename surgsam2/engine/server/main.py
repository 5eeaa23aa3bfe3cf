"""The engine process: it connects, loads what is heavy, and carries out requests."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from surgsam2.engine.protocol.events import Failed, Ready
from surgsam2.engine.protocol.framing import EXPLAINED, PROTOCOL_VERSION
from surgsam2.engine.protocol.messages import Hello, Message, MessageError, Request
from surgsam2.engine.protocol.payloads import SharedMemoryPayloads
from surgsam2.engine.protocol.requests import (
    TO_ENGINE,
    Alive,
    Cancel,
    Chunk,
    FrameGiven,
    LiveFrame,
    LivePicture,
)
from surgsam2.engine.server.connection import Connection, SocketStream
from surgsam2.engine.server.failures import describe
from surgsam2.engine.server.request_queue import RequestQueue
from surgsam2.errors import SurgSAM2Error
from surgsam2.storage.json_text import parse_json
from surgsam2.version import __version__

if TYPE_CHECKING:
    from surgsam2.engine.server.engine import Engine, Send
    from surgsam2.engine.server.remote_files import RemoteFiles

LIFE_SECONDS = 1.0
"""Seconds between two messages `Alive`."""
BROKEN_CONNECTION = 4
"""Exit code of an engine process that cannot understand the application."""


class Server:
    """Sorts messages: requests wait for the engine, everything else is handled at once.

    Args:
        send: sends a message to the application.
        remote: what an application on another machine may use; None for one on this machine.
    """

    def __init__(self, send: Send, remote: RemoteFiles | None = None) -> None:
        self._send = send
        self._remote = remote
        self.requests = RequestQueue()
        self._engine: Engine | None = None

    def load_engine(self) -> Engine:
        """Import what is heavy and return the engine.

        This takes seconds; the connection is read already meanwhile.

        Raises:
            ImportError: a package is missing or broken.
            OSError: a library of a package cannot be loaded.
        """
        import torch

        from surgsam2.engine.server.engine import Engine

        self._engine = Engine(self._send, self.requests, self._remote)
        self._send(Ready(platform.python_version(), torch.__version__, __version__, os.getpid()))
        return self._engine

    def on_message(self, message: Message) -> None:
        """Handle a message; called by the reading thread, never raises."""
        if isinstance(message, Request):
            self.requests.put(message)
        elif isinstance(message, Cancel):
            self.requests.cancel_all()
        elif self._engine is not None and isinstance(
            message, FrameGiven | LiveFrame | LivePicture | Chunk
        ):
            try:
                self._engine.take(message)
            except SurgSAM2Error as error:
                kind, text = describe(error)
                self._send(Failed(None, text, kind))

    def on_refused(self, error: MessageError) -> None:
        """Report a message that cannot be understood; called by the reading thread."""
        kind, _ = describe(error.__cause__ or error)
        if kind == "internal":  # a value of the wrong kind that Python refused
            kind = "protocol"
        self._send(Failed(error.request, str(error), kind))


def main() -> None:
    """Run the engine process for the `EngineClient` that has started it; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the application's
    settings = parse_json(sys.stdin.readline())
    folder = Path(settings["folder"])
    connected = socket.create_connection(("127.0.0.1", settings["port"]))
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    payloads = SharedMemoryPayloads(folder, "engine")
    connection = Connection(SocketStream(connected), payloads, TO_ENGINE)
    connection.send(Hello(settings["token"], PROTOCOL_VERSION, __version__))

    def show_life() -> None:
        while True:
            time.sleep(LIFE_SECONDS)
            connection.send(Alive())

    threading.Thread(target=show_life, name="surgsam2-alive", daemon=True).start()

    def on_end(reason: str) -> None:
        """End the process at once, whatever the engine is doing: nobody waits for it."""
        if reason:
            connection.send(Failed(None, reason, "protocol"))
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(BROKEN_CONNECTION if reason else 0)

    carry_out_requests(connection, on_end)


def carry_out_requests(
    connection: Connection, on_end: Callable[[str], None], remote: RemoteFiles | None = None
) -> None:
    """Carry out the requests that come through a connection; never returns.

    Args:
        connection: the connection to the application.
        on_end: called when the connection has ended, with the reason if there is one; it must
            end the process.
        remote: what an application on another machine may use; None for one on this machine.
    """
    server = Server(connection.send, remote)
    connection.read_in_thread(server.on_message, server.on_refused, on_end)
    try:
        engine = server.load_engine()
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        text = (
            f"the engine needs a package that is missing or broken in {sys.executable} ({reason}); "
            f"to see what to do, run: {sys.executable} -m surgsam2 doctor"
        )
        connection.send(Failed(None, text, "install"))
        os._exit(EXPLAINED)
    engine.run()
