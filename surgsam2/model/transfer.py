"""Download a file over https, continuing an earlier transfer."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from tqdm import tqdm

MAX_BYTES = 4 * 2**30
"""Largest size of a download; a server that sends more may never stop."""
_SCHEMES = ("https",)
_TIMEOUT_SECONDS = 30
_RANGE_IS_BEYOND_THE_END = 416


def fetch(url: str, target: Path) -> None:
    """Download to a file; its present content is taken for the beginning.

    The caller has to verify the content. After an error the file keeps what was received.

    Args:
        url: https address.
        target: file that is extended.

    Raises:
        OSError: another scheme than https, no network, or an incomplete transfer.
        HTTPException: the server's response is not valid HTTP.
    """
    _require_https(url)
    have = target.stat().st_size if target.exists() else 0
    with _opened(url, have) as response:
        begin = have if response.status == 206 else 0  # 200: the server sends all of it
        length = int(response.headers.get("Content-Length") or 0)
        total = begin + length if length else None
        with (
            target.open("ab" if begin else "wb") as file,
            tqdm(total=total, initial=begin, unit="B", unit_scale=True, desc=target.stem) as bar,
        ):
            done = begin
            while block := response.read(1 << 20):
                done += file.write(block)
                bar.update(len(block))
                if done > MAX_BYTES:
                    raise OSError(f"the server sent more than {MAX_BYTES} bytes")
    if total and done != total:
        raise OSError(f"got {done} of {total} bytes")


@contextlib.contextmanager
def _opened(url: str, have: int) -> Iterator[Any]:
    """Open an address behind its first `have` bytes, or at its beginning if it ends there.

    Raises:
        OSError: the server cannot be reached, or refuses.
    """
    opener = urllib.request.build_opener(_HttpsOnly)
    request = urllib.request.Request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = opener.open(request, timeout=_TIMEOUT_SECONDS)
    except HTTPError as error:
        if not have or error.code != _RANGE_IS_BEYOND_THE_END:
            raise
        error.close()
        response = opener.open(url, timeout=_TIMEOUT_SECONDS)
    with response:
        yield response


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Refuses redirections that leave https."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_https(url: str) -> None:
    if urlsplit(url).scheme not in _SCHEMES:
        raise OSError(f"{url} is not an https address")
