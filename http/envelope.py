"""The envelope: what goes around every answer, whatever is in it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from . import request_id
from .call import Answer
from .conditional import COMPRESSED_FROM, compress
from .cors import Cors

_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def seal(answer: Answer, environ: Mapping[str, Any], request: str, cors: Cors) -> tuple[bytes, list[tuple[str, str]]]:
    """The body as it is sent, and all headers.

    Args:
        answer: what the handler gave.
        environ: the request, as PEP 3333 has it.
        request: its id.
        cors: which origins may call.
    """
    body, status, own, content_type, policy, ready = answer
    headers = [*own, *policy, (request_id.HEADER, request)]
    if cors.is_on:
        headers += cors.headers(environ)
        if environ["REQUEST_METHOD"] == "OPTIONS":
            headers += cors.preflight_headers(environ, dict(own).get("Allow", ""))
    if status in _BODILESS:
        return b"", headers
    if len(body) >= COMPRESSED_FROM:
        headers.append(("Vary", "Accept-Encoding"))
        packed = compress(body, environ.get("HTTP_ACCEPT_ENCODING", ""), ready)
        if packed is not None:
            headers.append(("Content-Encoding", "gzip"))
            body = packed
    headers += (("Content-Type", content_type), ("Content-Length", str(len(body))))
    return (b"" if environ["REQUEST_METHOD"] == "HEAD" else body), headers
