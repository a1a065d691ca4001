"""Doing something to many orders of a running server, and showing how far it is."""

from __future__ import annotations

import time
from typing import Annotated, Any, NamedTuple

import msgspec
import typer
from rich.progress import Progress

from ...engine import ActionState, InvalidConfiguration, OrderFilter
from ...store.domain.order_filter import ALL_ORDERS
from .console import err, print_json, print_line
from .filters import as_parameters
from .remote import Server

_LOOK_AGAIN_SECONDS = 0.2

EverythingOption = Annotated[bool, typer.Option("--all", help="All orders, where no option says which.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Tell how many orders these are, and do nothing.")]
RehearseOption = Annotated[
    bool,
    typer.Option("--rehearse", help="With --dry-run, also tell what becomes of the backlog with it and without."),
]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Do not wait until all are moved.")]


class Bulk(NamedTuple):
    """Something to be done to many orders."""

    action: str
    orders: OrderFilter
    reason: str | None
    status: str | None
    """What they are settled as."""
    everything: bool
    """Whether all orders are meant where the filter is empty."""
    dry_run: bool
    rehearse: bool
    no_wait: bool

    def check_single(self) -> None:
        """Refuse what is for many orders, where one is named.

        Raises:
            InvalidConfiguration: there is such an option.
        """
        if self.orders != ALL_ORDERS or self.everything or self.dry_run or self.rehearse:
            raise InvalidConfiguration("Give either ORDER_ID, or the options that say which orders are meant.")

    def run(self, server: Server, as_json: bool) -> None:
        """Do it, or tell how many orders these are.

        Raises:
            InvalidConfiguration: nothing says which orders are meant.
            ServerRefused: the server does not do it.
        """
        if self.orders == ALL_ORDERS and not self.everything:
            raise InvalidConfiguration("Name an order, or say which ones are meant: --error, --status, …, or --all.")
        if self.rehearse and not self.dry_run:
            raise InvalidConfiguration("--rehearse is for --dry-run: give that as well.")
        given: dict[str, object] = {
            "reason": self.reason,
            "status": self.status,
            "dry_run": self.dry_run or None,
            "rehearse": self.rehearse or None,
        }
        body: dict[str, object] = {"action": self.action, "where": as_parameters(self.orders)}
        body |= {name: value for name, value in given.items() if value is not None}
        answer = server.post("orders", "actions", body=msgspec.json.encode(body))
        if self.dry_run:
            _show_preview(self.action, answer, as_json)
        elif self.no_wait:
            _show_started(answer, as_json)
        else:
            show_action(_wait(server, answer), as_json)


def show_action(action: dict[str, Any], as_json: bool) -> None:
    """Print how far an action is.

    Args:
        action: as REST has it.
        as_json: for programs.
    """
    if as_json:
        print_json(action)
        return
    moved, matched = action["moved"], action["matched"]
    refused = f", {action['refused']} had moved on" if action["refused"] else ""
    print_line(f"{action['action']} {action['action_id']} is {action['state']}: {moved} of {matched} moved{refused}.")


def _show_preview(action: str, preview: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(preview)
        return
    examples = ", ".join(order["order_id"] for order in preview["examples"])
    print_line(f"{preview['matched']} orders to {action}{f', such as {examples}' if examples else ''}.")
    if (rehearsal := preview.get("rehearsal")) is not None:
        for words, name in (("After it", "after"), ("As it is", "without")):
            print_line(f"{words}: {_shortly(rehearsal[name])}.")


def _shortly(told: dict[str, Any]) -> str:
    empty, deadlines = told["empty"], told["deadlines"]
    words = f"{told['backlog']} orders are unfinished, "
    if empty is None:
        words += f"and nobody can tell when that is over: {told['why']}"
    else:
        words += f"empty at {empty['expected']}, {told['confidence']:.0%} from {empty['low']} to {empty['high']}"
    if deadlines is not None:
        words += f"; {deadlines['broken']['expected']:.0f} of {deadlines['orders']} deadlines break"
        if deadlines["first"]:
            words += f", first {', '.join(late['order_id'] for late in deadlines['first'])}"
    return words


def _show_started(started: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(started)
    else:
        number = started["action_id"]
        print_line(f"{started['matched']} orders: `ordermill action {number}` tells how far it is.")


def _wait(server: Server, started: dict[str, Any]) -> dict[str, Any]:
    number = started["action_id"]
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("Orders", total=started["matched"])
        while True:
            action: dict[str, Any] = server.get("orders", "actions", number)
            progress.update(task, completed=action["moved"] + action["refused"])
            if action["state"] != ActionState.RUNNING:
                return action
            time.sleep(_LOOK_AGAIN_SECONDS)
