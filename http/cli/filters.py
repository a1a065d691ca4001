"""The options that say which orders a command is about."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ...engine import InvalidConfiguration, OrderStatus
from ...store.domain.order import IDENTIFIER
from ...store.domain.order_filter import PREFIX, OrderFilter
from ...store.domain.record import parse_rfc3339, rfc3339
from ..api.parameters import ERROR
from .duration import duration_option
from .options import option


def _time(name: str, text: str) -> int:
    at_us = parse_rfc3339(text)
    if at_us is None:
        raise InvalidConfiguration(f"{name} must be a time such as 2026-11-23T06:39:00Z, not {text!r}.")
    return at_us


def _time_option(name: str, description: str) -> Any:
    return typer.Option(name, help=description, parser=lambda text: _time(name, text), metavar="<time>")


_OPTIONS: dict[str, Any] = {
    "status": Annotated[OrderStatus | None, option("--status", OrderStatus, "Only orders that are there.")],
    "user": Annotated[str | None, typer.Option("--user", metavar="<user id>", help="Only this user's.")],
    "queue": Annotated[str | None, typer.Option("--queue", metavar="<queue>", help="Only orders of this queue.")],
    "prefix": Annotated[
        str | None, typer.Option("--prefix", metavar="<begin of an id>", help="Only orders whose ids begin like this.")
    ],
    "error": Annotated[
        str | None,
        typer.Option(
            "--error",
            metavar="<error>",
            help="Only orders that have failed with it: its class, or what `failures` shows.",
        ),
    ],
    "since": Annotated[float | None, duration_option("--since", "Only orders that have changed in this time.")],
    "created_from": Annotated[int | None, _time_option("--created-from", "Only orders accepted then or later.")],
    "created_to": Annotated[int | None, _time_option("--created-to", "Only orders accepted before.")],
    "updated_from": Annotated[int | None, _time_option("--updated-from", "Only orders that changed then or later.")],
    "updated_to": Annotated[int | None, _time_option("--updated-to", "Only orders that changed last before.")],
}


def with_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which orders it is about; its last parameter is `**filters: Any`."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [parameter for parameter in own if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    names = {parameter.name for parameter in parameters}  # a settle has a status of its own
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _OPTIONS.items()
        if name not in names
    ]
    # Typer reads the signature and the annotations of the function that it calls.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # any function may have one
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def wanted(filters: dict[str, Any]) -> OrderFilter:
    """Which orders the options mean.

    Raises:
        InvalidConfiguration: two of them contradict each other, or one is none that an order can have.
    """
    since, updated_from = filters["since"], filters["updated_from"]
    if since is not None:
        if updated_from is not None:
            raise InvalidConfiguration("Give either --since or --updated-from.")
        updated_from = round((time.time() - since) * 1e6)
    for name, pattern in (("queue", IDENTIFIER), ("prefix", PREFIX), ("error", ERROR)):
        if filters[name] is not None and pattern.fullmatch(filters[name]) is None:
            raise InvalidConfiguration(f"--{name} is none that an order can have: {filters[name]!r}.")
    return OrderFilter(
        status=filters.get("status"),
        user_id=filters["user"],
        queue=filters["queue"],
        order_id_prefix=filters["prefix"],
        error=filters["error"],
        created_from_us=filters["created_from"],
        created_to_us=filters["created_to"],
        updated_from_us=updated_from,
        updated_to_us=filters["updated_to"],
    )


def as_parameters(wanted: OrderFilter) -> dict[str, str]:
    """The same as REST takes it."""
    times = {
        name: getattr(wanted, f"{name}_us") for name in ("created_from", "created_to", "updated_from", "updated_to")
    }
    given = {
        "status": wanted.status,
        "user_id": wanted.user_id,
        "queue": wanted.queue,
        "order_id_prefix": wanted.order_id_prefix,
        "error": wanted.error,
        **{name: None if at_us is None else rfc3339(at_us) for name, at_us in times.items()},
    }
    return {name: str(value) for name, value in given.items() if value is not None}
