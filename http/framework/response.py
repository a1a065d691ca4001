"""Response: what the handlers of the routes give back, at once or later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...engine import Reply
from ..wire.headers import FORGET, JSON, Headers


class Response(NamedTuple):
    """What a handler gives back."""

    body: bytes
    status: int = 200
    headers: Headers = ()
    """Beyond Content-Type, Content-Length and the policy's."""
    content_type: str = JSON
    policy: Headers = FORGET
    """What others may do with it."""
    packed: bytes | None = None
    """The body as gzip, where that was made beforehand."""


class Deferred(NamedTuple):
    """An answer that is not there yet. No thread has to wait for it."""

    reply: Reply[Any]
    """Set when it is time to go on."""
    go_on: Callable[[], Response | Deferred]
    """Gives the answer then, or what has to be waited for next."""
    hurry: Callable[[], object] | None = None
    """Sets the reply now, where the client may have gone and the answer would do as it is; None where it would not."""
