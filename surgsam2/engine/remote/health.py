"""Answers questions about a server's state: ``/health`` and ``/metrics``, without secrets."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from surgsam2.engine.remote.server import EngineServer
from surgsam2.version import __version__

_HELP = {
    "running": "Sessions that run now.",
    "waiting": "Clients that wait for their turn.",
    "sessions": "Sessions that were begun.",
    "resumed": "Connections that resumed a session.",
    "refused": "Connections that were refused.",
}
METRICS_TYPE = "text/plain; version=0.0.4"
"""Media type of the text format of Prometheus."""
_GAUGES = ("running", "waiting")


def serve_health(server: EngineServer, host: str, port: int) -> ThreadingHTTPServer:
    """Answer HTTP requests about a server in a thread.

    ``/health`` gives JSON, ``/metrics`` the text format of Prometheus.

    Args:
        server: the server.
        host: IP address to listen at; it should be this machine's own.
        port: TCP port; 0 takes a free one.

    Raises:
        OSError: the port is in use.
    """

    def health() -> tuple[str, str]:
        state = {"status": "ok", "surgsam2": __version__, **_figures(server)}
        return "application/json", json.dumps(state) + "\n"

    def metrics() -> tuple[str, str]:
        figures = _figures(server)
        rows = []
        for name, text in _HELP.items():
            kind = "gauge" if name in _GAUGES else "counter"
            rows.append((name if kind == "gauge" else f"{name}_total", kind, text, figures[name]))
        return METRICS_TYPE, metrics_text(rows)

    return serve_pages({"/health": health, "/metrics": metrics}, host, port)


def serve_pages(
    pages: Mapping[str, Callable[[], tuple[str, str]]], host: str, port: int
) -> ThreadingHTTPServer:
    """Answer HTTP requests in a thread.

    Args:
        pages: by path, a function that gives the media type and the text.
        host: IP address to listen at; it should be this machine's own.
        port: TCP port; 0 takes a free one.

    Raises:
        OSError: the port is in use.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            """Answer one request."""
            if self.path in pages:
                self._answer(200, *pages[self.path]())
            else:
                self._answer(404, "text/plain", f"there are {' and '.join(pages)}\n")

        def _answer(self, code: int, kind: str, text: str) -> None:
            data = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Log nothing: health checks come every few seconds."""

    class Server(ThreadingHTTPServer):
        # On Windows this would let two servers listen at one port.
        allow_reuse_address = os.name != "nt"

    http = Server((host, port), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, name="surgsam2-health", daemon=True).start()
    return http


def metrics_text(rows: Iterable[tuple[str, str, str, float]]) -> str:
    """Return figures in the text format of Prometheus.

    Args:
        rows: name without ``surgsam2_``, with labels if there are any; ``gauge`` or ``counter``;
            meaning; value. Rows of the same name follow each other.
    """
    lines, before = [], ""
    for name, kind, text, value in rows:
        full = f"surgsam2_{name}"
        bare = full.partition("{")[0]
        if bare != before:
            lines += [f"# HELP {bare} {text}", f"# TYPE {bare} {kind}"]
            before = bare
        lines.append(f"{full} {value}")
    return "\n".join(lines) + "\n"


def _figures(server: EngineServer) -> dict[str, float]:
    counts = server.statistics
    return {
        "running": server.running,
        "waiting": server.waiting,
        "sessions": counts.sessions,
        "resumed": counts.resumed,
        "refused": counts.refused,
        "uptime_seconds": round(time.time() - counts.began, 1),
    }
