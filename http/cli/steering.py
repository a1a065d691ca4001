"""Commands that steer a running server, and that say who did."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Meta
from rich.table import Column, Table

from ...engine import InvalidConfiguration
from ...engine.config import MAX_PROCESSORS
from ...store import audit_log
from ...store.domain.limit import MAX_CONCURRENCY, MAX_RATE
from ...store.domain.rehearsal import MAX_ARRIVALS
from ..api.steering import audit_entry_payload
from .bulk import show_action
from .console import (
    DEFAULT_DATABASE,
    DEFAULT_URL,
    AskedUrlOption,
    CaOption,
    DatabaseOption,
    JsonOption,
    KeyOption,
    UrlOption,
    out,
    print_json,
    print_line,
)
from .database import open_reader
from .duration import duration_option
from .options import argument, option
from .remote import Server

_OUTAGE_SECONDS = 600
_SHOWN_POINTS = 12

app = typer.Typer()

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it goes into the audit log.")]


@app.command("control")
def control_command(
    url: UrlOption = DEFAULT_URL, key: KeyOption = None, ca: CaOption = None, as_json: JsonOption = False
) -> None:
    """Show whether a running server is paused, and how many processors it has."""
    _show(Server(url, key, ca).get("control"), as_json)


@app.command("pause")
def pause_command(
    duration: Annotated[float | None, duration_option("--for", "How long; until `resume` without it.")] = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a running server take orders and start none. Handlers that run go on; a restart does not end it."""
    _show(_post(Server(url, key, ca), "pause", seconds=duration, reason=reason), as_json)


@app.command("resume")
def resume_command(
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a running server start orders again."""
    _show(_post(Server(url, key, ca), "resume", reason=reason), as_json)


@app.command("processors")
def processors_command(
    count: Annotated[
        int | None,
        argument(
            "COUNT", Annotated[int, Meta(ge=1, le=MAX_PROCESSORS)], "How many; as many as are configured without it."
        ),
    ] = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set how many processors a running server has, after a restart too."""
    body = {"processors": count} | ({} if reason is None else {"reason": reason})
    _show(Server(url, key, ca).put("control", "processors", body=msgspec.json.encode(body)), as_json)


@app.command("queues")
def queues_command(
    url: UrlOption = DEFAULT_URL, key: KeyOption = None, ca: CaOption = None, as_json: JsonOption = False
) -> None:
    """Show how the queues of a running server are set, and how they are doing."""
    _show_queues(Server(url, key, ca).get("queues")["queues"], as_json)


@app.command("queue")
def queue_command(
    queue: Annotated[str, typer.Argument(metavar="QUEUE", help="Its name.")],
    paused: Annotated[
        bool | None, typer.Option("--pause/--resume", help="Start no order of it, or start them again.")
    ] = None,
    concurrency: Annotated[
        int | None,
        option(
            "--concurrency",
            Annotated[int, Meta(ge=0, le=MAX_CONCURRENCY)],
            "How many of its orders may be Processing at once; 0 for as many as are configured.",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        option(
            "--rate",
            Annotated[float, Meta(ge=0, le=MAX_RATE)],
            "How many of its orders may be begun a second; 0 for as many as are configured.",
        ),
    ] = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause or resume a queue of a running server, or give it other limits, after a restart too."""
    given = {"paused": paused, "concurrency": concurrency, "rate": rate, "reason": reason}
    body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    body.update({name: None for name in ("concurrency", "rate") if body.get(name) == 0})
    if body.keys() <= {"reason"}:
        raise InvalidConfiguration("Say what is to change: --pause or --resume, --concurrency, or --rate.")
    state = Server(url, key, ca).put("queues", queue, body=msgspec.json.encode(body))
    _show_queues([state], as_json, is_one=True)


@app.command("rehearse")
def rehearse_command(
    processors: Annotated[
        int | None,
        option("--processors", Annotated[int, Meta(ge=1, le=MAX_PROCESSORS)], "How many; as many as now without it."),
    ] = None,
    arrivals: Annotated[
        float | None,
        option(
            "--arrivals",
            Annotated[float, Meta(ge=0, le=MAX_ARRIVALS)],
            "How many orders arrive, as a multiple of the rate of the last 15 minutes.",
        ),
    ] = None,
    pause: Annotated[
        str | None, typer.Option("--pause", help="A queue, or a user, whose orders are not begun.")
    ] = None,
    fail: Annotated[
        str | None, typer.Option("--fail", help="A class of errors that every attempt fails with at first.")
    ] = None,
    fail_for: Annotated[float | None, duration_option("--fail-for", "How long; 10m without it.")] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what is likely to become of the backlog of a running server: when it is empty, and which deadlines break."""
    if fail is None and fail_for is not None:
        raise InvalidConfiguration("--fail-for says how long --fail goes on: give that as well.")
    outage = None if fail is None else {"error": fail, "for_seconds": fail_for or _OUTAGE_SECONDS}
    given = {"processors": processors, "arrivals": arrivals, "pause": pause, "fail": outage}
    body = msgspec.json.encode({name: value for name, value in given.items() if value is not None})
    told = Server(url, key, ca).post("rehearsals", body=body)
    if as_json:
        print_json(told)
    else:
        _show_rehearsal(told)


@app.command("action")
def action_command(
    action_id: Annotated[str, typer.Argument(metavar="ACTION_ID", help="The number of an action on many orders.")],
    stop: Annotated[bool, typer.Option("--stop", help="Carry it out no further.")] = False,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far an action on many orders is, or stop it; what it has moved stays moved."""
    server = Server(url, key, ca)
    if stop:
        body = {} if reason is None else {"reason": reason}
        action = server.post("orders", "actions", action_id, "stop", body=msgspec.json.encode(body))
    else:
        action = server.get("orders", "actions", action_id)
    show_action(action, as_json)


@app.command("actions")
def actions_command(
    limit: Annotated[int, option("--limit", Annotated[int, Meta(ge=1)], "How many at the most.")] = 20,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was done to many orders of a running server at once, newest first."""
    actions = Server(url, key, ca).pages("orders", "actions", name="actions", limit=limit)
    if as_json:
        print_json({"actions": actions})
        return
    table = Table(Column("Action", justify="right"), Column("At", no_wrap=True), "By", "What", "State")
    table.add_column("Moved", justify="right")
    table.add_column("Of", justify="right")
    table.add_column("Which", overflow="fold")
    for action in actions:
        names = ("action_id", "created_at", "by", "action", "state", "moved", "matched", "orders")
        table.add_row(*("" if action[name] is None else str(action[name]) for name in names))
    out.print(table)


@app.command("audit")
def audit_command(
    limit: Annotated[int, option("--limit", Annotated[int, Meta(ge=1)], "How many at the most.")] = 20,
    db: DatabaseOption = DEFAULT_DATABASE,
    url: AskedUrlOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what people have done, newest first: from a database, or from a running server with --url."""
    if url is None:
        with open_reader(db) as reader:
            found = reader.read(partial(audit_log.page, limit=limit))
        entries: list[dict[str, Any]] = msgspec.to_builtins([audit_entry_payload(entry) for entry in found])
    else:
        entries = Server(url, key, ca).pages("audit", name="entries", limit=limit)
    if as_json:
        print_json({"entries": entries})
        return
    table = Table(Column("At", no_wrap=True), "By", "Action", Column("Target", overflow="fold"))
    table.add_column("Orders", justify="right")
    table.add_column("Reason", overflow="fold")
    for entry in entries:
        orders = "" if entry["orders"] is None else str(entry["orders"])
        table.add_row(
            entry["at"], entry["by"] or "", entry["action"], entry["target"] or "", orders, entry["reason"] or ""
        )
    out.print(table)


def _show_queues(queues: list[dict[str, Any]], as_json: bool, *, is_one: bool = False) -> None:
    if as_json:
        print_json(queues[0] if is_one else {"queues": queues})
        return
    table = Table(Column("Queue", overflow="fold"), "State")
    for name in ("Pending", "Processing", "At once", "A second"):
        table.add_column(name, justify="right")
    table.add_column("Reason", overflow="fold")
    for queue in queues:
        state = "Paused" if queue["paused"] else "Running"
        if not queue["paused"] and queue["slowed_until"]:
            state = f"Slowed until {queue['slowed_until']}"
        limits = ("any" if queue[name] is None else f"{queue[name]:g}" for name in ("concurrency", "rate"))
        counts = (str(queue[name]) for name in ("pending", "processing"))
        table.add_row(queue["queue"], state, *counts, *limits, queue["reason"] or "")
    out.print(table)


def _post(server: Server, act: str, **given: object) -> dict[str, Any]:
    body = {name: value for name, value in given.items() if value is not None}
    control: dict[str, Any] = server.post("control", act, body=msgspec.json.encode(body))
    return control


def _show(control: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(control)
        return
    until = f" until {control['paused_until']}" if control["paused_until"] else ""
    why = f": {control['reason']}" if control["reason"] else ""
    state = f"Paused{until}{why}" if control["paused"] else "Running"
    print_line(f"{state}, {control['processors']} processors.")


def _show_rehearsal(told: Any) -> None:
    print_line(
        f"{told['backlog']} orders are unfinished; {told['processors']} processors, "
        f"{told['arrivals_per_second']:.3g} orders a second arrive; {told['runs']} runs of {told['attempts']} attempts"
    )
    if (empty := told["empty"]) is not None:
        print_line(f"empty at {empty['expected']}, {told['confidence']:.0%} from {empty['low']} to {empty['high']}")
    else:
        print_line(f"nobody can tell when it is empty: {told['why']}")
    for name, what in (("left", "orders are left then"), ("failed", "orders fail for good")):
        if (band := told[name]) is not None and band["high"]:
            print_line(f"{_band(band)} {what}")
    if (deadlines := told["deadlines"]) is not None:
        print_line(f"{_band(deadlines['broken'])} of {deadlines['orders']} deadlines break")
        for late in deadlines["first"]:
            print_line(f"  {late['order_id']}, by {late['complete_by']}: in {late['broken']:.0%} of the runs")
    for note in told["notes"]:
        print_line(note)
    if told["points"]:
        table = Table(Column("At", no_wrap=True))
        for name in ("Backlog", "Low", "High"):
            table.add_column(name, justify="right")
        for point in told["points"][:: max(1, len(told["points"]) // _SHOWN_POINTS)]:
            table.add_row(point["at"], *(f"{point[name]:.0f}" for name in ("expected", "low", "high")))
        out.print(table)


def _band(band: Any) -> str:
    return f"{band['expected']:.0f} ({band['low']:.0f} to {band['high']:.0f})"
