"""Commands that have a running server do something."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...engine import OrderStatus
from .console import DEFAULT_URL, JsonOption, KeyOption, OrderArgument, UrlOption, err, out, print_json
from .load import render, run_load
from .remote import move_order

app = typer.Typer()

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it goes into the order's history.")]


@app.command("load")
def load_command(
    url: UrlOption = DEFAULT_URL,
    orders: Annotated[int, typer.Option(min=1, help="Orders to send.")] = 1000,
    concurrency: Annotated[int, typer.Option(min=1, help="Connections that send at the same time.")] = 1000,
    timeout_seconds: Annotated[float, typer.Option(min=1, help="Give up after so many seconds.")] = 300.0,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send orders from many connections at once, wait for all of them, and check the metrics against what was sent."""
    report = run_load(url, orders, concurrency, err if as_json else out, timeout_seconds, key)
    if as_json:
        print_json(report)
    else:
        render(report, out)
    if not report.ok:
        raise typer.Exit(1)


@app.command("cancel")
def cancel_command(
    order_id: OrderArgument,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a running server cancel an order that is Pending."""
    _show_moved(move_order(url, order_id, "cancel", _why(reason), key), as_json)


@app.command("retry")
def retry_command(
    order_id: OrderArgument,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a running server handle an order again at once that is Failed, in Review, or waits for its next attempt."""
    _show_moved(move_order(url, order_id, "retry", _why(reason), key), as_json)


@app.command("settle")
def settle_command(
    order_id: OrderArgument,
    status: Annotated[OrderStatus, typer.Argument(help="Completed or Failed.")],
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a running server end the Review of an order."""
    _show_moved(move_order(url, order_id, "settle", {"status": status, **_why(reason)}, key), as_json)


def _why(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"reason": reason}


def _show_moved(order: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(order)
    else:
        out.print(f"{order['order_id']} is {order['status']}.", highlight=False)
