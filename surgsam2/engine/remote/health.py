"""Answers questions about a server's state: ``/health`` and ``/metrics``, without secrets."""

from __future__ import annotations

import json
import threading
import time
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

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            """Answer one request."""
            if self.path == "/health":
                state = {"status": "ok", "surgsam2": __version__, **_figures(server)}
                self._answer(200, "application/json", json.dumps(state) + "\n")
            elif self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4", _metrics(server))
            else:
                self._answer(404, "text/plain", "there are /health and /metrics\n")

        def _answer(self, code: int, kind: str, text: str) -> None:
            data = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Log nothing: health checks come every few seconds."""

    http = ThreadingHTTPServer((host, port), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, name="surgsam2-health", daemon=True).start()
    return http


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


def _metrics(server: EngineServer) -> str:
    figures, lines = _figures(server), []
    for name, text in _HELP.items():
        kind = "gauge" if name in _GAUGES else "counter"
        full = f"surgsam2_{name}" if name in _GAUGES else f"surgsam2_{name}_total"
        lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}", f"{full} {figures[name]}"]
    return "\n".join(lines) + "\n"
