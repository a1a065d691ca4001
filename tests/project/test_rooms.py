"""Inside the layers as well imports run one way: from room to room as this table has it, and never in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOMS: dict[str, dict[str, str]] = {
    "http": {
        "__main__": "cli",
        "cli": "serve config api security transport wire",
        "serve": "application processes followed transport config",
        "processes": "application transport config",
        "application": "routes api dashboard framework loop_engine openapi security transport config",
        "routes": "api openapi framework security wire",
        "api": "framework security wire",
        "openapi": "framework security wire",
        "dashboard": "framework security wire",
        "loop_engine": "",
        "framework": "security wire",
        "transport": "wire config followed",
        "security": "wire config followed",
        "followed": "",
        "wire": "",
        "config": "",
    },
    "engine": {
        "__init__": "order_engine interface event_stream recovery execution receipt reply snapshot telemetry config",
        "testing": "actors requests clock",
        "order_engine": "rehearsal life startup recovery interface requests reply deadlines actors execution config "
        "clock",
        "deadlines": "requests reply actors",
        "startup": "rehearsal recovery webhooks actors tracing execution reply config process_identity clock logger",
        "recovery": "actors execution logger",
        "life": "startup logger",
        "actors": "outlook tracing execution requests reply snapshot telemetry config process_identity clock logger",
        "interface": "requests receipt reply snapshot arguments event_stream telemetry",
        "event_stream": "reply",
        "webhooks": "actors execution reply clock logger",
        "tracing": "execution requests reply logger",
        "requests": "reply snapshot telemetry",
        "execution": "reply config clock output",
        "rehearsal": "execution reply config logger",
        "receipt": "",
        "reply": "logger",
        "snapshot": "telemetry",
        "outlook": "calibration pace snapshot",
        "calibration": "",
        "pace": "",
        "arguments": "config telemetry",
        "telemetry": "",
        "config": "",
        "output": "",
        "logger": "",
        "process_identity": "",
        "clock": "logger",
    },
    "store": {
        "__init__": "",
        "audit": "queries arrival statements tables domain",
        "engines": "totals writer statements tables domain",
        "control": "audit_log writer statements translation tables domain",
        "failures": "statements tables domain",
        "arrival": "statements tables domain",
        "bulk_actions": "search audit_log statements translation tables domain",
        "search": "queries arrival failures rows statements tables domain",
        "audit_log": "statements tables domain",
        "ledger": "deadlines schedules trace_contexts bulk_actions queue serial arrival outbox audit_log failures "
        "queries idempotency ledger_statements totals writer statements translation rows domain",
        "ledger_statements": "statements rows tables domain",
        "queue": "front limits serial queues turns queries writer statements rows domain",
        "front": "domain",
        "limits": "queues turns statements rows domain",
        "queues": "turns audit_log queries statements translation domain",
        "serial": "queries statements rows domain",
        "schedules": "rows statements tables domain",
        "deadlines": "queries statements tables domain",
        "lines": "queues turns domain",
        "limited_lines": "lines queues domain",
        "attempts": "statements domain",
        "rehearsals": "attempts limited_lines lines limits queues bulk_actions arrival queries rows statements domain",
        "turns": "domain",
        "outlooks": "places attempts writer statements translation domain",
        "places": "limits serial line_counts queue queues turns queries rows statements domain",
        "line_counts": "queues turns queries statements",
        "retention": "deadlines schedules trace_contexts audit_log bulk_actions failures event_log export queries "
        "totals writer statements translation tables domain",
        "queries": "rows statements tables domain",
        "outbox": "writer statements domain",
        "webhooks": "outbox audit_log writer statements translation tables domain",
        "event_log": "rows statements domain",
        "trace_contexts": "statements tables domain",
        "idempotency": "statements tables domain",
        "connect": "sqlite postgres backend domain",
        "reader": "backend statements translation",
        "backend": "writer domain",
        "totals": "writer statements tables domain",
        "sqlite": "writer dialect statements translation files domain",
        "postgres": "writer dialect statements translation domain",
        "writer": "translation",
        "dialect": "",
        "export": "files domain",
        "translation": "domain",
        "rows": "tables domain",
        "files": "",
        "tables": "",
        "statements": "",
        "domain": "",
    },
}
"""Each room, or file beside the rooms, and what it may import of its layer besides itself."""


def modules(root: Path, layer: str) -> dict[str, Path]:
    """Every module of a layer by its name below the layer: `transport.server`."""
    return {
        ".".join(path.relative_to(root / layer).with_suffix("").parts): path
        for path in sorted((root / layer).rglob("*.py"))
    }


def imports(root: Path, layer: str) -> dict[str, set[str]]:
    """What each module of a layer imports of that layer, by name."""
    known = modules(root, layer)
    return {name: set(_imported(name, path, layer, known)) for name, path in known.items()}


def _imported(name: str, path: Path, layer: str, known: dict[str, Path]) -> Iterator[str]:
    package = [layer, *name.split(".")[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *filter(None, (node.module or "").split("."))]
            for alias in node.names:
                for target in ([*base, alias.name], base, [*base, "__init__"]):
                    found = ".".join(target[1:])
                    if target[:1] == [layer] and found in known and found != name:
                        yield found
                        break


def room(name: str) -> str:
    """The room of a module: the folder that it is in, or its own name."""
    return name.partition(".")[0]


@pytest.mark.parametrize("layer", ROOMS)
def test_a_room_imports_from_the_rooms_below_it_alone(root: Path, layer: str) -> None:
    table = {name: {name, *allowed.split()} for name, allowed in ROOMS[layer].items()}

    assert {room(name) for name in modules(root, layer)} == set(table)
    assert [
        f"{name} imports {target}"
        for name, targets in imports(root, layer).items()
        for target in sorted(targets)
        if room(target) not in table[room(name)]
    ] == []


@pytest.mark.parametrize("layer", ROOMS)
def test_no_imports_run_in_a_circle(root: Path, layer: str) -> None:
    left = imports(root, layer)
    while ends := {name for name, targets in left.items() if not targets & left.keys()}:
        left = {name: targets for name, targets in left.items() if name not in ends}

    assert left == {}


@pytest.mark.parametrize("layer", ["http", "engine"])
def test_only_the_store_knows_the_database(root: Path, layer: str) -> None:
    known = ("peewee", "playhouse", "sqlite3", "psycopg")
    assert [
        f"{path.relative_to(root)} imports {name}"
        for path in modules(root, layer).values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name.partition(".")[0] in known
    ] == []


def test_what_an_order_is_does_not_know_how_it_is_stored(root: Path) -> None:
    for path in (root / "store" / "domain").rglob("*.py"):
        assert "peewee" not in path.read_text(encoding="utf-8")
        assert "sqlite3" not in path.read_text(encoding="utf-8")
