"""Commands about the webhooks of a running server."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from msgspec import Meta
from rich.table import Column, Table

from ...engine import DeliveryState, WebhookEvent
from .console import DEFAULT_URL, CaOption, JsonOption, KeyOption, UrlOption, out, print_json, print_line
from .options import option
from .remote import Server

app = typer.Typer(no_args_is_help=True, help="Make, show and change the webhooks of a running server.")

WebhookArgument = Annotated[str, typer.Argument(metavar="WEBHOOK_ID", help="The webhook.")]
EventOption = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        metavar="<event>",
        help=f"What it is told of, all by default; give it again for a further one: {', '.join(WebhookEvent)}.",
    ),
]
DescriptionOption = Annotated[str | None, typer.Option("--description", help="What it is for.")]


@app.command("create")
def create_command(
    receiver: Annotated[str, typer.Argument(metavar="RECEIVER", help="Where events are sent to: https://…")],
    event: EventOption = None,
    description: DescriptionOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have events sent to a receiver. Its secret is shown this once."""
    body = _given(url=receiver, events=event or None, description=description)
    _show_secret(Server(url, key, ca).post("webhooks", body=body), as_json)


@app.command("list")
def list_command(
    url: UrlOption = DEFAULT_URL, key: KeyOption = None, ca: CaOption = None, as_json: JsonOption = False
) -> None:
    """List the webhooks, oldest first."""
    found = Server(url, key, ca).get("webhooks")
    if as_json:
        print_json(found)
        return
    table = Table("Webhook", Column("Receiver", overflow="fold"), Column("Events", overflow="fold"))
    table.add_column("Disabled", overflow="fold")
    table.add_column("Description", overflow="fold")
    for webhook in found["webhooks"]:
        events = ", ".join(event.removeprefix("order.") for event in webhook["events"])
        disabled, description = webhook["disabled_reason"] or "", webhook["description"] or ""
        table.add_row(webhook["webhook_id"], webhook["url"], events, disabled, description)
    out.print(table)


@app.command("update")
def update_command(
    webhook_id: WebhookArgument,
    receiver: Annotated[str | None, typer.Option("--receiver", metavar="<https://…>", help="Where to.")] = None,
    event: EventOption = None,
    description: DescriptionOption = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Send events, or send nothing any more.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a webhook, disable it, or enable it again."""
    body = _given(url=receiver, events=event or None, description=description, enabled=enabled)
    webhook = Server(url, key, ca).patch("webhooks", webhook_id, body=body)
    if as_json:
        print_json(webhook)
    elif webhook["disabled_at"] is None:
        print_line(f"{webhook_id} is sent events.")
    else:
        print_line(f"{webhook_id} is sent nothing: {webhook['disabled_reason']}.")


@app.command("delete")
def delete_command(
    webhook_id: WebhookArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send nothing more to a webhook, and forget what was sent."""
    gone = Server(url, key, ca).delete("webhooks", webhook_id)
    if as_json:
        print_json(gone)
    else:
        print_line(f"{webhook_id} is deleted.")


@app.command("rotate")
def rotate_command(
    webhook_id: WebhookArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign with a new secret, which is shown this once; for a day with the old one as well."""
    _show_secret(Server(url, key, ca).post("webhooks", webhook_id, "rotate"), as_json)


@app.command("test")
def send_test_command(
    webhook_id: WebhookArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send an event of the type webhook.test; `deliveries` shows how it went."""
    _tell(Server(url, key, ca).post("webhooks", webhook_id, "test"), as_json)


@app.command("replay")
def replay_command(
    webhook_id: WebhookArgument,
    delivery: Annotated[int | None, option("--delivery", Annotated[int, Meta(ge=1)], "This one only.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="<time>", help="Only what happened then or later: 2026-11-23T06:39:00Z."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="<time>", help="Only what happened then or before, likewise.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what was given up.")] = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send again what was delivered or given up."""
    body = _given(delivery_id=delivery, since=since, until=until, failed_only=failed or None)
    _tell(Server(url, key, ca).post("webhooks", webhook_id, "replay", body=body), as_json)


@app.command("deliveries")
def deliveries_command(
    webhook_id: WebhookArgument,
    state: Annotated[DeliveryState | None, option("--state", DeliveryState, "Only these.")] = None,
    limit: Annotated[int, option("--limit", Annotated[int, Meta(ge=1, le=1_000)], "How many at the most.")] = 20,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is sent and was sent to a webhook, newest first, with the latest answer."""
    found = Server(url, key, ca).get("webhooks", webhook_id, "deliveries", state=state, limit=limit)
    if as_json:
        print_json({"deliveries": found["deliveries"]})
        return
    table = Table(Column("Delivery", justify="right"), "Event", Column("Order", overflow="fold"), "State")
    table.add_column("Attempts", justify="right")
    table.add_column("Latest answer", overflow="fold")
    table.add_column("Seconds", justify="right")
    table.add_column("Next", no_wrap=True)
    for delivery in found["deliveries"]:
        latest = delivery["latest"] or {"error": None, "status": "", "latency_seconds": ""}
        answer, seconds = latest["error"] or str(latest["status"]), str(latest["latency_seconds"])
        cells = (delivery["type"], delivery["order_id"] or "", delivery["state"], str(delivery["attempts"]))
        table.add_row(str(delivery["delivery_id"]), *cells, answer, seconds, delivery["due_at"] or "")
    out.print(table)


def _given(**fields: object) -> bytes:
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def _show_secret(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(made)
    else:
        print_line(f"{made['webhook_id']} {made['secret']}")


def _tell(sent: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(sent)
    else:
        print_line(f"{sent['deliveries']} events are being sent.")
