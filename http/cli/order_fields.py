"""The options that say when an order's turn comes, and what else it says of itself."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from ...engine import FieldFault, InvalidOrder
from ..api.requests import decode_order

PriorityOption = Annotated[
    int | None, typer.Option("--priority", metavar="<0 to 9>", help="How early its turn comes; 9 is first.")
]
NotBeforeOption = Annotated[
    str | None,
    typer.Option("--not-before", metavar="<time>", help="It is not begun earlier: 2026-12-24T18:00:00+01:00."),
]
CompleteByOption = Annotated[
    str | None,
    typer.Option("--complete-by", metavar="<time>", help="When it is to be done: 2026-12-24T18:00:00+01:00."),
]
SerialKeyOption = Annotated[
    str | None, typer.Option("--serial-key", metavar="<key>", help="Orders of one key run one after another.")
]
QueueOption = Annotated[str | None, typer.Option("--queue", metavar="<queue>", help="The queue that it waits in.")]
MetadataOption = Annotated[
    str | None, typer.Option("--metadata", metavar="<JSON object>", help="Whatever else is to be kept with it.")
]

_OPTIONS = {
    "order_id": "ORDER_ID",
    "user_id": "--user",
    "item_ids": "--item",
    "total_amount": "--total",
    "key": "--serial-key",
}


def fields_given(
    priority: int | None,
    not_before: str | None,
    complete_by: str | None,
    serial_key: str | None,
    queue: str | None,
    metadata: str | None,
) -> dict[str, Any]:
    """What these options say, as REST has it; what is not given is left out."""
    fields = {
        "priority": priority,
        "not_before": not_before,
        "complete_by": complete_by,
        "key": serial_key,
        "queue": queue,
        "metadata": _json_or_text(metadata),
    }
    return {name: value for name, value in fields.items() if value is not None}


def checked_body(fields: dict[str, Any]) -> bytes:
    """An order as it is sent.

    Args:
        fields: it, as REST has it.

    Raises:
        InvalidOrder: something is wrong with it; the error names the options.
    """
    body = msgspec.json.encode(fields)
    try:
        decode_order(body)
    except InvalidOrder as error:
        raise InvalidOrder(tuple(FieldFault(_option_of(fault), fault.detail) for fault in error.faults)) from None
    return body


def _option_of(fault: FieldFault) -> str:
    name = fault.pointer.split("/")[1]
    return _OPTIONS.get(name, f"--{name.replace('_', '-')}")


def _json_or_text(text: str | None) -> object:
    # What is no JSON is refused with the other faults of the order.
    try:
        return None if text is None else msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
