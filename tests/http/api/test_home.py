from __future__ import annotations

from typing import Any

import pytest


def test_a_program_gets_links_that_lead_somewhere(client: Any) -> None:
    reply = client.get("/", Accept="application/json")
    assert reply.status == 200
    for path in reply.json.values():
        assert client.get(path).status == 200


@pytest.mark.parametrize("accept", ["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"])
def test_a_browser_is_sent_to_the_pages(client: Any, accept: str) -> None:
    reply = client.get("/", Accept=accept)
    assert (reply.status, reply.headers["Location"]) == (303, "/dashboard/")


def test_a_program_that_takes_anything_gets_links(client: Any) -> None:
    assert client.get("/", Accept="*/*").status == 200
