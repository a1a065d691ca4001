"""The types of single fields, as the API describes them: their patterns and limits are those of `store/order.py`.

`extra_json_schema` describes without checking: an order is checked once, where it is made, and an answer never.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ...store.domain.lifecycle import SETTLE, OrderStatus
from ...store.domain.metadata import METADATA_RULE
from ...store.domain.order import (
    DEFAULT_QUEUE,
    HIGHEST_PRIORITY,
    IDENTIFIER,
    LOWEST_PRIORITY,
    MAX_ITEMS,
    MAX_TOTAL_AMOUNT,
    MONEY_RULE,
    PRIORITY,
    PRIORITY_RULE,
    USER,
)
from ...store.domain.reason import REASON
from ...store.domain.record import RFC3339
from ..framework.parameters import whole

MONEY_TEXT = re.compile(rf"[0-9]{{1,{len(str(int(MAX_TOTAL_AMOUNT)))}}}(\.[0-9]{{1,2}})?")
"""An amount as a string: a plain decimal number. Whatever matches is in range."""
CURSOR = re.compile(r"[1-9a-f][0-9a-f]{0,14}")
"""A cursor: the sequence of an order, in hexadecimal. Whatever matches fits into the database's integers."""
EVENT_ID = re.compile(r"(0|[1-9][0-9]{0,17})")
"""The id of an event, or 0. Whatever matches fits into the database's integers."""

Identifier = Annotated[str, Meta(extra_json_schema={"pattern": whole(IDENTIFIER)})]
Key = Annotated[str, Meta(extra_json_schema={"pattern": whole(USER)})]
Queue = Annotated[str, Meta(extra_json_schema={"pattern": whole(IDENTIFIER), "default": DEFAULT_QUEUE})]
UserIdentifier = Annotated[str, Meta(extra_json_schema={"pattern": whole(USER)})]
ItemIds = Annotated[tuple[Identifier, ...], Meta(extra_json_schema={"minItems": 1, "maxItems": MAX_ITEMS})]
AmountRequest = Annotated[
    Any,
    Meta(
        extra_json_schema={
            "description": MONEY_RULE[0].upper() + MONEY_RULE[1:] + ", as a string or as a number.",
            "anyOf": [
                {"type": "string", "pattern": whole(MONEY_TEXT)},
                {"type": "number", "minimum": 0, "maximum": float(MAX_TOTAL_AMOUNT), "multipleOf": 0.01},
            ],
        }
    ),
]
_PRIORITY = {
    "description": f"How early its turn comes, {PRIORITY_RULE}.",
    "minimum": LOWEST_PRIORITY,
    "maximum": HIGHEST_PRIORITY,
    "default": PRIORITY,
}
Priority = Annotated[int, Meta(extra_json_schema=_PRIORITY)]
PriorityRequest = Annotated[Any, Meta(extra_json_schema={"type": "integer", **_PRIORITY})]
_TIME = {"format": "date-time", "pattern": whole(RFC3339)}
NotBefore = Annotated[
    str,
    Meta(
        extra_json_schema={
            "description": "The order is not begun earlier than this: RFC 3339 with the offset from UTC.",
            **_TIME,
        }
    ),
]
CompleteBy = Annotated[
    str,
    Meta(
        extra_json_schema={
            "description": "When the order is to be Completed: RFC 3339 with the offset from UTC.",
            **_TIME,
        }
    ),
]
MetadataRequest = Annotated[
    msgspec.Raw,
    Meta(
        extra_json_schema={
            "description": f"Whatever else is to be kept with the order, {METADATA_RULE}.",
            "type": "object",
        }
    ),
]
Metadata = Annotated[dict[str, Any], Meta(description="What the client wants to have with the order.")]
ACTION_ID = re.compile(r"[1-9][0-9]{0,17}")
"""The number of an action on many orders."""
ActionNumber = Annotated[str, Meta(extra_json_schema={"pattern": whole(ACTION_ID)})]
Reason = Annotated[str, Meta(extra_json_schema={"pattern": whole(REASON)})]
Amount = Annotated[str, Meta(extra_json_schema={"pattern": r"^[0-9]+\.[0-9]{2}$"})]
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time", "pattern": r"\.[0-9]{6}Z$"})]
Count = Annotated[int, Meta(extra_json_schema={"minimum": 0})]
Share = Annotated[float, Meta(extra_json_schema={"minimum": 0, "maximum": 1})]
Cursor = Annotated[str, Meta(extra_json_schema={"pattern": whole(CURSOR)})]
SettledStatus = Annotated[OrderStatus, Meta(extra_json_schema={"enum": [status.value for status in SETTLE]})]
