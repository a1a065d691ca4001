"""A client that a program of others makes from the description: it sends, waits, lists, and is told of problems."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.http.conftest import Client

pytestmark = pytest.mark.slow
PACKAGE = "client_of_ordermill"


@pytest.fixture
def generated(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of a package that `openapi-python-client` has made from the served description."""
    (tmp_path / "openapi.json").write_bytes(client.get("/openapi.json").body)
    (tmp_path / "config.yaml").write_text(json.dumps({"post_hooks": []}))
    arguments = ["generate", "--meta", "none", "--path", "openapi.json", "--config", "config.yaml"]
    made = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *arguments, "--output-path", PACKAGE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: importlib.import_module(f"{PACKAGE}.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_a_client_made_from_the_description_submits_waits_and_lists(
    client: Client, generated: Callable[[str], ModuleType], order: Callable[..., dict[str, Any]]
) -> None:
    models = generated("models")
    request = models.OrderRequest.from_dict(order("o-1"))
    with generated("client").Client(
        base_url="http://{}:{}".format(*client.address), raise_on_unexpected_status=True
    ) as caller:
        made = generated("api.orders.submit_order").sync(client=caller, body=request)
        done = generated("api.orders.read_order").sync("o-1", client=caller, wait=10)
        page = generated("api.orders.list_orders").sync(client=caller, status=models.OrderStatus.COMPLETED)
        unknown = generated("api.orders.read_order").sync("o-2", client=caller)

    assert (made.order_id, made.status) == ("o-1", models.OrderStatus.PENDING)
    assert (done.status, done.total_amount) == (models.OrderStatus.COMPLETED, "19.99")
    assert [listed.order_id for listed in page.orders] == ["o-1"]
    assert (unknown.status, unknown.title) == (404, "There is no such order")
