"""`ordermill keys …`: making, listing and revoking the keys of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from msgspec import Meta
from rich.table import Table

from ...store.domain.weight import LEAST_WEIGHT, MOST_WEIGHT
from ..security.api_keys import Role, create_key, read_keys, revoke_key
from .console import JsonOption, out, print_json, print_line
from .options import option

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the keys of a server.")

FileOption = Annotated[Path, typer.Option("--keys-file", envvar="ORDERMILL_KEYS_FILE", help="File of the keys.")]


@app.command("create")
def create_command(
    keys_file: FileOption,
    role: Annotated[list[Role], option("--role", Role, "What the key is good for; give it again for a further role.")],
    user: Annotated[str | None, typer.Option(help="The only user whose orders it is good for.")] = None,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    weight: Annotated[
        float | None,
        option(
            "--weight",
            Annotated[float, Meta(ge=LEAST_WEIGHT, le=MOST_WEIGHT)],
            "How many times the others' share of the turns the user has, from the server's next start on.",
        ),
    ] = None,
) -> None:
    """Make a key and print it, once: the file holds its hash only."""
    print_line(create_key(keys_file, role, user, name, weight))


@app.command("list")
def list_command(keys_file: FileOption, as_json: JsonOption = False) -> None:
    """Show the keys: their ids, and what they are good for."""
    entries = read_keys(keys_file).values()
    if as_json:
        print_json([{name: getattr(entry, name) for name in _SHOWN} for entry in entries])
        return
    table = Table("Id", "Roles", "User", "Weight", "Name", "Created")
    for entry in entries:
        weight = "" if entry.weight is None else f"{entry.weight:g}"
        table.add_row(entry.id, ", ".join(entry.roles), entry.user or "all", weight, entry.name or "", entry.created_at)
    out.print(table)


@app.command("revoke")
def revoke_command(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `ordermill keys list` shows it.")],
    keys_file: FileOption,
) -> None:
    """Remove a key; a running server takes notice within a second or two."""
    revoke_key(keys_file, key_id)
    print_line(f"The key {key_id} is revoked.")


_SHOWN = ("id", "roles", "user", "weight", "name", "created_at")
