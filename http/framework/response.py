"""Response: what the handlers of the routes give back, at once or as a `Deferred`."""

from __future__ import annotations

import msgspec

from ..wire.headers import FORGET, JSON, Headers
from .stream import Stream


class Response(msgspec.Struct, frozen=True, gc=False):
    """What a handler gives back."""

    body: bytes | Stream
    """A stream is sent as it comes: neither compressed nor measured."""
    status: int = 200
    headers: Headers = ()
    """Beyond Content-Type, Content-Length and the policy's."""
    content_type: str = JSON
    policy: Headers = FORGET
    """What others may do with it."""
    packed: bytes | None = None
    """The body as gzip, where that was made beforehand."""
