"""What the commands share: their options, and how they print."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from ...store.domain.text import in_own_lines

_UNLIMITED = 100_000

DEFAULT_DATABASE = "orders.db"
DEFAULT_URL = "http://127.0.0.1:8080"

DatabaseOption = Annotated[
    str,
    typer.Option(
        "--db", envvar="ORDERMILL_DB", help="Database: a path, or a URL: sqlite:///orders.db, postgresql://host/shop."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OrderArgument = Annotated[str, typer.Argument(metavar="ORDER_ID", help="The order.")]
UrlOption = Annotated[str, typer.Option("--url", envvar="ORDERMILL_URL", help="Address of a running server.")]
AskedUrlOption = Annotated[
    str | None, typer.Option("--url", help="Address of a running server, to ask it in place of the database.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="ORDERMILL_KEY",
        help="Key to send along. Set the variable rather: other users of this machine can read what is typed.",
    ),
]
CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="ORDERMILL_CA",
        help="File of certificates, as PEM, that may have signed the server's, besides those that the system trusts.",
    ),
]


class _Console(Console):
    """Shows what handlers and clients have written, and sends none of it to the terminal as a command."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Text as it is shown: in a line, in a cell of a table."""
        return super().render_str(in_own_lines(text), **options)


def _console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # Where no terminal limits a line, nothing is wrapped: programs read it.
    is_limited = stream is None or stream.isatty() or "COLUMNS" in os.environ
    # No markup: what handlers and clients have written is shown as it is.
    return _Console(markup=False, emoji=False, stderr=stderr, width=None if is_limited else _UNLIMITED)


out = _console()
err = _console(stderr=True)


def show_any_text() -> None:
    """Write what the encoding of the output cannot express as an escape, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def stop(message: str) -> NoReturn:
    """End the command: a line on standard error, and exit code 1."""
    err.print(f"ordermill: {message}", style="red", highlight=False, soft_wrap=True)
    sys.exit(1)


def print_line(text: str, style: str | None = None) -> None:
    """Print a line of text as it is."""
    out.print(text, style=style, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value for programs."""
    # Not through rich, which would wrap and colour it. In ASCII: any encoding of the output has it.
    print(json.dumps(msgspec.to_builtins(value), indent=2))
