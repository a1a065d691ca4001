"""How the harnesses tell what came of a run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console
from rich.table import Table


def tell(verdict: Any, *, as_json: bool) -> None:
    """Print a verdict.

    Raises:
        typer.Exit: something is wrong: exit code 1.
    """
    if as_json:
        print(json.dumps(asdict(verdict), indent=2))
    else:
        table = Table("", "Count", title="Chaos")
        for name, value in asdict(verdict).items():
            table.add_row(name.replace("_", " "), str(len(value) if isinstance(value, list) else value))
        Console().print(table)
        for fault in verdict.faults[:20]:
            print(fault)
    if not verdict.is_clean:
        raise typer.Exit(1)
