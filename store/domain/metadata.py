"""What clients have with an order beside its own fields: a JSON object, which nothing here interprets."""

from __future__ import annotations

from math import isfinite
from typing import Any

import msgspec

MAX_METADATA_BYTES = 4096
_MAX_DEPTH = 16
METADATA_RULE = (
    f"a JSON object of at most {MAX_METADATA_BYTES} bytes, nested at most {_MAX_DEPTH} deep, whose names differ and "
    "whose whole numbers have at most 64 bits"
)
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def is_metadata(value: object) -> bool:
    """Whether this may be an order's metadata: a JSON object that comes out as it went in."""
    if not isinstance(value, dict) or not _is_json(value, _MAX_DEPTH):
        return False
    try:
        return len(_encode(value)) <= MAX_METADATA_BYTES
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False


def own_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """A copy that nobody else has."""
    return _decode(_encode(metadata))


def metadata_text(metadata: dict[str, Any] | None) -> str | None:
    """Metadata as it is stored and compared: `1`, `1.0` and `true` differ, the sequence of names does not."""
    return None if metadata is None else _encode(metadata).decode()


def metadata_of(text: str | None) -> dict[str, Any] | None:
    """Metadata as it was stored."""
    return None if text is None else _decode(text)


def _is_json(value: object, depth: int) -> bool:
    if value is None or isinstance(value, bool | str):
        return True
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, float):
        return isfinite(value)
    if depth == 0 or not isinstance(value, dict | list):
        return False
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_json(member, depth - 1) for name, member in value.items())
    return all(_is_json(member, depth - 1) for member in value)
