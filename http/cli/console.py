"""What the commands share: their options, and how they print."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console

# No markup: what handlers and clients have written is shown as it is.
out = Console(markup=False, emoji=False)
err = Console(markup=False, emoji=False, stderr=True)

DatabaseOption = Annotated[
    str, typer.Option("--db", envvar="ORDERMILL_DB", help="Database: a path, or a URL such as sqlite:///orders.db.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OrderArgument = Annotated[str, typer.Argument(help="The order.")]
UrlOption = Annotated[str, typer.Option("--url", envvar="ORDERMILL_URL", help="Address of a running server.")]
KeyOption = Annotated[
    str | None, typer.Option("--key", envvar="ORDERMILL_KEY", help="Key to send along; the variable tells nobody.")
]
DEFAULT_DATABASE = "orders.db"
DEFAULT_URL = "http://127.0.0.1:8080"


def stop(message: str) -> NoReturn:
    """End the command: a line on standard error, and exit code 1."""
    err.print(f"ordermill: {message}", style="red", highlight=False, soft_wrap=True)
    sys.exit(1)


def print_json(value: object) -> None:
    """Print a value for programs."""
    # Not through rich, which would wrap and colour it.
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
