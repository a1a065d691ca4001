"""Commands about orders: sending them, looking at them, moving them on."""

from __future__ import annotations

import sys
from codecs import BOM_UTF8
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from msgspec import Meta
from rich.table import Column, Table

from ...engine import InvalidConfiguration, OrderFilter, OrderNotFound
from ...store import failures, queries, search
from ...store.domain.lifecycle import SETTLE, SETTLED_RULE
from ..api.responses import (
    BULK_OUTCOMES,
    REJECTED,
    OrderPayload,
    failure_group_payload,
    order_payload,
    transition_payloads,
)
from .bulk import Bulk, DryRunOption, EverythingOption, NoWaitOption, RehearseOption
from .console import (
    DEFAULT_DATABASE,
    DEFAULT_URL,
    AskedUrlOption,
    CaOption,
    DatabaseOption,
    JsonOption,
    KeyOption,
    OrderArgument,
    UrlOption,
    out,
    print_json,
    print_line,
)
from .database import open_reader
from .filters import as_parameters, wanted, with_filters
from .options import argument, option
from .order_fields import (
    CompleteByOption,
    MetadataOption,
    NotBeforeOption,
    PriorityOption,
    QueueOption,
    SerialKeyOption,
    checked_body,
    fields_given,
)
from .remote import Server

_SENT_AT_ONCE = 1_000
_Settled: Any = Literal[tuple(status.value for status in SETTLE)]

app = typer.Typer()

Order = dict[str, Any]
"""An order as REST has it."""
OneOrderArgument = Annotated[
    str | None, typer.Argument(metavar="ORDER_ID", help="The order; leave it out for all that the options mean.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it goes into the order's history.")]


@app.command("submit")
def submit_command(
    order_id: Annotated[
        str | None, typer.Argument(metavar="ORDER_ID", help="Your name for the order. Leave it out with --file.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="<user id>", help="Who orders.")] = None,
    item: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="<item id>", help="What is ordered; give it again for a further item."),
    ] = None,
    total: Annotated[str | None, typer.Option("--total", metavar="<19.99>", help="The amount.")] = None,
    priority: PriorityOption = None,
    not_before: NotBeforeOption = None,
    complete_by: CompleteByOption = None,
    serial_key: SerialKeyOption = None,
    queue: QueueOption = None,
    metadata: MetadataOption = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            help="File of orders as REST takes them: NDJSON, a JSON array or one order; - is standard input.",
        ),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send an order to a running server, or all orders of a file. Sending again is safe: it is stored once."""
    server = Server(url, key, ca)
    given = {"ORDER_ID": order_id, "--user": user, "--item": item, "--total": total}
    more = fields_given(priority, not_before, complete_by, serial_key, queue, metadata)
    if file is not None:
        if any(given.values()) or more:
            raise InvalidConfiguration("Give either --file, or ORDER_ID with the options of one order.")
        _submit_all(server, _orders_in(file), as_json)
        return
    if missing := [name for name, value in given.items() if not value]:
        raise InvalidConfiguration(f"An order needs {', '.join(missing)}. Or name a file of orders with --file.")
    fields: dict[str, object] = {"order_id": order_id, "user_id": user, "item_ids": item, "total_amount": total}
    _show(server.post("orders", body=checked_body(fields | more)), as_json)


@app.command("list")
@with_filters
def list_command(
    limit: Annotated[int, option("--limit", Annotated[int, Meta(ge=1)], "How many at the most.")] = 20,
    db: DatabaseOption = DEFAULT_DATABASE,
    url: AskedUrlOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
    **filters: Any,
) -> None:
    """List orders, newest first: from a database, or from a running server with --url."""
    if url is None:
        orders: list[Order] = msgspec.to_builtins(_stored(db, wanted(filters), limit))
    else:
        orders = Server(url, key, ca).pages("orders", name="orders", limit=limit, **as_parameters(wanted(filters)))
    if as_json:
        print_json({"orders": orders})
        return
    table = Table(Column("Order", overflow="fold"), Column("User", overflow="fold"), "Status")
    table.add_column("Attempts", justify="right")
    table.add_column("Total", justify="right")
    table.add_column("Updated")
    table.add_column("Last error", overflow="fold")
    for order in orders:
        cells = (order[name] for name in ("order_id", "user_id", "status", "attempts", "total_amount", "updated_at"))
        table.add_row(*map(str, cells), order["last_error"] or "")
    out.print(table)


@app.command("failures")
def failures_command(
    limit: Annotated[int, option("--limit", Annotated[int, Meta(ge=1)], "How many at the most.")] = 20,
    db: DatabaseOption = DEFAULT_DATABASE,
    url: AskedUrlOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what orders have failed with: from a database, or from a running server with --url."""
    if url is None:
        with open_reader(db) as reader:
            found = reader.read(partial(failures.groups, limit=limit))
        groups: list[dict[str, Any]] = msgspec.to_builtins([failure_group_payload(group) for group in found])
    else:
        groups = Server(url, key, ca).get("failures", limit=limit)["groups"]
    if as_json:
        print_json({"groups": groups})
        return
    if not groups:
        print_line("No order has failed, or waits for its next attempt.")
        return
    table = Table(Column("Orders", justify="right"), Column("Waiting", justify="right"))
    for name in ("First", "Last", "Example", "Error"):
        table.add_column(name, overflow="fold")
    for group in groups:
        cells = (group[name] for name in ("count", "waiting", "first_at", "last_at", "example", "error"))
        table.add_row(*map(str, cells))
    out.print(table)


@app.command("status")
def status_command(
    order_id: OrderArgument,
    db: DatabaseOption = DEFAULT_DATABASE,
    url: AskedUrlOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where an order is and how it got there: from a database, or from a running server with --url."""
    if url is None:
        order, transitions = _read(db, order_id)
    else:
        server = Server(url, key, ca)
        order = server.get("orders", order_id)
        transitions = server.pages("orders", order_id, "history", name="transitions", limit=sys.maxsize)
    if as_json:
        print_json({**order, "transitions": transitions})
        return
    print_line(
        f"{order['order_id']}: {order['status']}, {order['total_amount']} for {order['user_id']}, "
        f"{', '.join(order['item_ids'])}"
    )
    table = Table(Column("At", no_wrap=True), "From", "To", Column("Attempt", justify="right"))
    table.add_column("Reason", overflow="fold")
    for step in transitions:
        reason = f"{step['reason']} (by {step['by']})" if "by" in step else step["reason"]
        table.add_row(step["at"], step["from"] or "", step["to"], str(step["attempt"]), reason)
    out.print(table)


@app.command("outlook")
def outlook_command(
    order_id: OrderArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where an order is in the queue of a running server, why it waits, and when it is likely to be over."""
    outlook = Server(url, key, ca).get("orders", order_id, "outlook")
    if as_json:
        print_json(outlook)
        return
    position = "" if outlook["position"] is None else f", number {outlook['position']} in the queue"
    print_line(f"{outlook['order_id']}: {outlook['status']}{position}")
    for wait in outlook["waiting_for"]:
        ahead = f", {wait['ahead']} ahead" if "ahead" in wait else ""
        until = f", until {wait['until']}" if "until" in wait else ""
        print_line(f"waits for {wait['reason']}: {wait['detail']}{ahead}{until}")
    if (expected := outlook["expected"]) is not None:
        print_line(
            f"over between {expected['from']} and {expected['to']}, with {expected['confidence']:.0%} confidence"
        )
    if (accuracy := outlook["accuracy"]) is not None:
        print_line(
            f"such spans were right for {accuracy['kept']:.0%} of {accuracy['of']} orders in the last "
            f"{accuracy['days']} days"
        )


@app.command("cancel")
@with_filters
def cancel_command(
    order_id: OneOrderArgument = None,
    reason: ReasonOption = None,
    everything: EverythingOption = False,
    dry_run: DryRunOption = False,
    rehearse: RehearseOption = False,
    no_wait: NoWaitOption = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
    **filters: Any,
) -> None:
    """Have a running server cancel an order that is Pending, or all such orders that the options mean."""
    bulk = Bulk("cancel", wanted(filters), reason, None, everything, dry_run, rehearse, no_wait)
    if order_id is None:
        bulk.run(Server(url, key, ca), as_json)
    else:
        bulk.check_single()
        _show(_move(Server(url, key, ca), order_id, "cancel", reason=reason), as_json)


@app.command("retry")
@with_filters
def retry_command(
    order_id: OneOrderArgument = None,
    reason: ReasonOption = None,
    everything: EverythingOption = False,
    dry_run: DryRunOption = False,
    rehearse: RehearseOption = False,
    no_wait: NoWaitOption = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
    **filters: Any,
) -> None:
    """Have a running server handle an order again at once that is Failed, in Review, or waits for its next attempt.

    Without ORDER_ID, all orders that the options mean: those that are Failed or wait for their next attempt, or those
    in Review with --status Review.
    """
    bulk = Bulk("retry", wanted(filters), reason, None, everything, dry_run, rehearse, no_wait)
    if order_id is None:
        bulk.run(Server(url, key, ca), as_json)
    else:
        bulk.check_single()
        _show(_move(Server(url, key, ca), order_id, "retry", reason=reason), as_json)


@app.command("settle")
@with_filters
def settle_command(
    order_id: OneOrderArgument = None,
    status: Annotated[str | None, argument("STATUS", _Settled, f"{SETTLED_RULE}.")] = None,
    settled: Annotated[str | None, option("--as", _Settled, "What many orders are settled as.")] = None,
    reason: ReasonOption = None,
    everything: EverythingOption = False,
    dry_run: DryRunOption = False,
    rehearse: RehearseOption = False,
    no_wait: NoWaitOption = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
    **filters: Any,
) -> None:
    """Have a running server end the Review of an order, or with --as of all orders that the options mean."""
    bulk = Bulk("settle", wanted(filters), reason, settled, everything, dry_run, rehearse, no_wait)
    if order_id is None:
        if settled is None:
            raise InvalidConfiguration(f"Name an order and {SETTLED_RULE}; or give --as, and say which orders.")
        bulk.run(Server(url, key, ca), as_json)
    else:
        if status is None or settled is not None:
            raise InvalidConfiguration(f"Settle one order as `ordermill settle ORDER_ID STATUS`: {SETTLED_RULE}.")
        bulk.check_single()
        _show(_move(Server(url, key, ca), order_id, "settle", status=status, reason=reason), as_json)


@app.command("reschedule")
def reschedule_command(
    order_id: OrderArgument,
    priority: PriorityOption = None,
    not_before: NotBeforeOption = None,
    at_once: Annotated[bool, typer.Option("--at-once", help="It may be begun from now on.")] = False,
    complete_by: CompleteByOption = None,
    no_deadline: Annotated[bool, typer.Option("--no-deadline", help="It may be done at any time.")] = False,
    queue: QueueOption = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a running server change when an order's turn comes that is not begun."""
    if at_once and not_before is not None:
        raise InvalidConfiguration("Give either --not-before or --at-once.")
    if no_deadline and complete_by is not None:
        raise InvalidConfiguration("Give either --complete-by or --no-deadline.")
    given: Order = {
        "priority": priority,
        "not_before": not_before,
        "complete_by": complete_by,
        "queue": queue,
        "reason": reason,
    }
    body = {name: value for name, value in given.items() if value is not None}
    if at_once:
        body["not_before"] = None
    if no_deadline:
        body["complete_by"] = None
    if not body.keys() - {"reason"}:
        raise InvalidConfiguration(
            "Say what is to change: --priority, --not-before or --at-once, --complete-by or --no-deadline, or --queue."
        )
    _show(Server(url, key, ca).post("orders", order_id, "reschedule", body=msgspec.json.encode(body)), as_json)


def _move(server: Server, order_id: str, action: str, **given: str | None) -> Order:
    body = {name: value for name, value in given.items() if value is not None}
    order: Order = server.post("orders", order_id, action, body=msgspec.json.encode(body) if body else b"")
    return order


def _show(order: Order, as_json: bool) -> None:
    if as_json:
        print_json(order)
    else:
        print_line(f"{order['order_id']} is {order['status']}.")


def _orders_in(file: Path) -> list[bytes]:
    # An order each, in one line.
    try:
        data = sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()
    except OSError as error:
        raise InvalidConfiguration(f"Cannot read the orders of --file {file}: {error.strerror}.") from error
    text = data.removeprefix(BOM_UTF8).strip()
    with suppress(msgspec.DecodeError):
        return [msgspec.json.format(bytes(raw), indent=-1) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]
    with suppress(msgspec.DecodeError):
        return [msgspec.json.format(text, indent=-1)]
    return [line for line in text.splitlines() if line.strip()]


def _submit_all(server: Server, orders: list[bytes], as_json: bool) -> None:
    results: list[dict[str, Any]] = []
    for start in range(0, len(orders), _SENT_AT_ONCE):
        lines = b"\n".join(orders[start : start + _SENT_AT_ONCE])
        results += server.post("orders", "bulk", body=lines, media_type="application/x-ndjson")["results"]
    count = Counter(result["outcome"] for result in results)
    accepted, duplicates, rejected = (count[outcome] for outcome in BULK_OUTCOMES)
    if as_json:
        print_json({"accepted": accepted, "duplicates": duplicates, "rejected": rejected, "results": results})
    else:
        for number, result in enumerate(results, start=1):
            if result["outcome"] == REJECTED:
                name = result["order_id"] or "which has no name"
                print_line(f"order {number}, {name}: {result['detail']}", style="red")
        print_line(f"{accepted} accepted, {duplicates} were there already, {rejected} rejected.")
    if rejected:
        raise typer.Exit(1)


def _stored(db: str, orders: OrderFilter, limit: int) -> list[OrderPayload]:
    found: list[OrderPayload] = []
    before: int | None = None
    with open_reader(db) as reader:
        while True:
            page = reader.read(partial(search.page, wanted=orders, before=before, limit=limit - len(found)))
            found += map(order_payload, page.orders)
            before = page.before
            if before is None or len(found) == limit:
                return found


def _read(db: str, order_id: str) -> tuple[Order, list[dict[str, Any]]]:
    with open_reader(db) as reader:
        record = reader.read(partial(queries.find, order_id=order_id))
        if record is None:
            raise OrderNotFound(order_id)
        history = reader.read(partial(queries.history, order_id=order_id))
    return msgspec.to_builtins(order_payload(record)), msgspec.to_builtins(transition_payloads(history))
