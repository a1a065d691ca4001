"""The client sends only to who proves to be the URL's host, at the address that was checked."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from ordermill.engine.testing import START_US
from ordermill.engine.webhooks import addresses
from ordermill.engine.webhooks.client import Sent, WebhookClient
from ordermill.store.domain.webhook import TEST, DueDelivery, Target

HOST = "shop.example"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DUE = DueDelivery(1, 0, "evt_1", TEST, START_US, 0, "{}")


class Came(NamedTuple):
    """A request that came to a receiver."""

    address: str
    """Where it was connected to."""
    host: str
    """Whom it was for."""
    name: str | None
    """The name that was asked for in the handshake."""
    type: str
    """The event's."""


class Network:
    """Receivers on addresses of this host, and names that lead to them, as a test says."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.came: list[Came] = []
        self.asked: list[str] = []
        """The names that were looked up."""
        self._context = context
        self._name: str | None = None
        if context is not None:
            context.sni_callback = self._note

    def _note(self, _socket: object, name: str | None, _context: object) -> None:
        self._name = name

    async def listen(self, address: str, port: int = 0) -> asyncio.Server:
        """Start a receiver."""
        return await asyncio.start_server(self._take, address, port, ssl=self._context)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
        body = json.loads(await reader.readexactly(int(fields["content-length"])))
        address = writer.get_extra_info("sockname")[0]
        self.came.append(Came(address, fields["host"].partition(":")[0], self._name, body["type"]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsaid")
        writer.close()
        await writer.wait_closed()

    async def send(
        self,
        answers: Iterable[list[str]],
        *,
        scheme: str = "https",
        allow_private: bool = True,
        trap: str | None = None,
    ) -> Sent:
        """Have the client send an event to HOST.

        Args:
            answers: where HOST is, at the first look, at the second, and so on.
            scheme: of the URL.
            allow_private: whether any address will do.
            trap: an address where another receiver listens on the same port.
        """
        answer = iter(answers)

        async def resolve(host: str, port: int, _family: int) -> list[dict[str, Any]]:
            self.asked.append(host)
            return [
                {"hostname": host, "host": found, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
                for found in next(answer)
            ]

        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(await self.listen("127.0.0.1"))
            port = server.sockets[0].getsockname()[1]
            if trap is not None:
                await stack.enter_async_context(await self.listen(trap, port))
            client = await stack.enter_async_context(WebhookClient(allow_private=allow_private))
            client._resolver._resolver.resolve = resolve  # type: ignore[method-assign]  # instead of the network
            return await client.send(Target(1, "wh_1", f"{scheme}://{HOST}:{port}/", (SECRET,)), DUE, START_US)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Who is trusted, as OpenSSL is told of on this machine."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return authority


@pytest.fixture
def network() -> Callable[..., Network]:
    """Makes networks whose receivers show a certificate of an authority for a name."""

    def make(authority: trustme.CA, name: str) -> Network:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        return Network(context)

    return make


def test_the_urls_host_is_asked_for_by_name_and_has_to_prove_that_it_is_it(
    authority: trustme.CA, network: Callable[..., Network]
) -> None:
    receivers = network(authority, HOST)

    sent = asyncio.run(receivers.send([["127.0.0.1"]]))

    assert (sent.attempt.status, sent.attempt.error, sent.attempt.answer) == (200, None, "said")
    assert receivers.came == [Came("127.0.0.1", HOST, HOST, TEST)]


def test_nothing_is_sent_to_who_shows_a_certificate_of_another_name(
    authority: trustme.CA, network: Callable[..., Network]
) -> None:
    receivers = network(authority, "elsewhere.example")

    sent = asyncio.run(receivers.send([["127.0.0.1"]]))

    assert sent.attempt.status is None
    assert sent.attempt.error is not None
    assert "certificate is not valid for 'shop.example'" in sent.attempt.error
    assert receivers.came == []


@pytest.mark.usefixtures("authority")
def test_nothing_is_sent_to_who_shows_a_certificate_of_an_authority_that_nobody_trusts(
    network: Callable[..., Network],
) -> None:
    receivers = network(trustme.CA(), HOST)

    sent = asyncio.run(receivers.send([["127.0.0.1"]]))

    assert sent.attempt.status is None
    assert sent.attempt.error is not None
    assert "certificate verify failed" in sent.attempt.error
    assert receivers.came == []


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    # A name server that gives a public address to be checked beside a private one, and another answer to whoever asks
    # again.
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    receivers = Network(None)

    sent = asyncio.run(
        receivers.send(
            [["127.0.0.2", "127.0.0.1"], ["127.0.0.2"]], scheme="http", allow_private=False, trap="127.0.0.2"
        )
    )

    assert sent.attempt.status == 200
    assert [came.address for came in receivers.came] == ["127.0.0.1"]
    assert receivers.asked == [HOST]


def test_nothing_is_connected_to_where_no_address_is_public() -> None:
    receivers = Network(None)

    sent = asyncio.run(receivers.send([["127.0.0.1"]], scheme="http", allow_private=False))

    assert sent.attempt.status is None
    assert sent.attempt.error is not None
    assert "shop.example is at 127.0.0.1, which is not public" in sent.attempt.error
    assert receivers.came == []
