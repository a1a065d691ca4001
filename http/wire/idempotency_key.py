"""Idempotency keys, as the header has them (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import re
from hashlib import sha256

from ...engine import IdempotencyKey
from ..problems import MalformedRequest

_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
_WORD = re.compile(r"[!#-+\--:<-~]{1,255}")  # visible, without quotes, commas and semicolons
FORM = re.compile(f"(?:{_STRING.pattern}|{_WORD.pattern})")
"""Both forms that the header may have."""
_ESCAPE = re.compile(r"\\(.)")


def read_idempotency_key(header: str, user_id: str | None, body: bytes) -> IdempotencyKey:
    """The client's name for a request.

    Args:
        header: `"8e03978e-…"`; the quotes may be missing, as many clients leave them out.
        user_id: the user that the client's key is bound to, if it is: each has names of its own.
        body: of the request; the name is good for this very one.

    Raises:
        MalformedRequest: the header is neither a string nor a word.
    """
    if (string := _STRING.fullmatch(header)) is not None:
        key = _ESCAPE.sub(r"\1", string[1])
    elif _WORD.fullmatch(header) is not None:
        key = header
    else:
        raise MalformedRequest("The idempotency key is no string of 1 to 255 visible characters.", "Idempotency-Key")
    return IdempotencyKey(key, user_id or "", sha256(body).hexdigest())
