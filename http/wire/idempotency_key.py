"""Idempotency keys, as the header has them (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import re

from .errors import MalformedRequest

_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
_WORD = re.compile(r"[!#-+\--:<-~]{1,255}")  # visible, without quotes, commas and semicolons
FORM = re.compile(f"(?:{_STRING.pattern}|{_WORD.pattern})")
"""Both forms that the header may have."""
_ESCAPE = re.compile(r"\\(.)")


def read_idempotency_key(header: str) -> str:
    """The client's name for a request.

    Args:
        header: `"8e03978e-…"`; the quotes may be missing, as many clients leave them out.

    Raises:
        MalformedRequest: the header is neither a string nor a word.
    """
    if (string := _STRING.fullmatch(header)) is not None:
        return _ESCAPE.sub(r"\1", string[1])
    if _WORD.fullmatch(header) is not None:
        return header
    raise MalformedRequest("The idempotency key is not a string of 1 to 255 visible characters.", "Idempotency-Key")
