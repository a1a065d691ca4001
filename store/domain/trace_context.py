"""Trace context: which trace a request is part of, as W3C's Trace Context writes it in the header `traceparent`."""

from __future__ import annotations

import re

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def sound_traceparent(text: str | None) -> str | None:
    """A `traceparent` as it came, if it is one of version 00; None otherwise: the specification has such ones ignored.

    Args:
        text: what came; None where nothing did.
    """
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None
