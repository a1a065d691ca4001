"""How deep JSON may be nested: one limit for every interpreter, looked after before anything is decoded."""

from __future__ import annotations

import re
from itertools import accumulate

from .message import BodyContent

MAX_DEPTH = 32
"""Objects and arrays inside one another. A bulk of orders has three."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _STEPS)


class NestedTooDeeply(ValueError):
    """JSON has more in one another than is taken."""


def check_depth(body: BodyContent) -> None:
    """Refuse JSON that is nested too deeply. Takes time in proportion to its length, and no stack.

    Raises:
        NestedTooDeeply: it is.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise NestedTooDeeply(f"it is nested more than {MAX_DEPTH} deep")
