"""Schemathesis tries the API against its description: with what it allows, with what it forbids, in sequences."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ordermill.engine import Order, Reject
from ordermill.http.security.api_keys import Role, create_key

if TYPE_CHECKING:
    from tests.http.conftest import Client

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")


def judge(order: Order) -> None:
    """A handler that rejects some, so that there is something to retry."""
    if len(order.item_ids) % 2:
        raise Reject("an odd number of items")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("needs_keys", "examples"),
    # Fewer where keys are needed: what an operation takes is no other there, only who may call it.
    [pytest.param(False, 40, id="open"), pytest.param(True, 12, id="guarded")],
)
def test_the_api_keeps_to_its_description(
    start_server: Callable[..., Client], tmp_path: Path, needs_keys: bool, examples: int
) -> None:
    key = create_key(tmp_path / "keys", [Role.OPERATE])
    url = start_server(judge, **({"keys_file": str(tmp_path / "keys")} if needs_keys else {})).server.url
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"]
    options = ["--checks", "all", "--max-examples", str(examples), "--seed", "1", "--generation-database", "none"]
    options += ["--no-color", "--request-timeout", "60"]

    done = subprocess.run(
        [*command, f"{url}/openapi.json", *options],
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(HOOKS), "ORDERMILL_KEY": key},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
