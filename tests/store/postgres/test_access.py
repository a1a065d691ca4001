"""What the URL and libpq's variables say of passwords and TLS holds for every connection."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlsplit

import pytest
import trustme

from ordermill.engine import DatabaseRefused, OrderEngine, OrderStatus
from ordermill.engine.testing import make_order
from ordermill.store.connect import connect
from ordermill.store.domain.durability import Durability

USER, PASSWORD = "shop", "a/secret: 100 %"
SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
"""What a client of PostgreSQL asks for TLS with."""


@pytest.fixture
def folder_of_socket(postgres_url: str, wait_until: Callable[..., None]) -> str:
    """Where the server listens, which wants a password of one of its users."""
    import psycopg

    if "ORDERMILL_TEST_POSTGRES" in os.environ:
        pytest.skip("changes who is let in, so it needs a server of the tests' own")
    folder = str(psycopg.conninfo.conninfo_to_dict(postgres_url)["host"])

    def is_asked_for_it() -> bool:
        try:
            psycopg.connect(postgres_url, user=USER).close()
        except psycopg.OperationalError:
            return True
        return False

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        ((hba,),) = connection.execute("SHOW hba_file").fetchall()
        rule = f"local all {USER} scram-sha-256\n"
        if not (text := Path(hba).read_text()).startswith(rule):
            Path(hba).write_text(rule + text)
            connection.execute(f"CREATE USER {USER} SUPERUSER PASSWORD '{PASSWORD}'".encode())
            connection.execute("SELECT pg_reload_conf()")
            wait_until(is_asked_for_it)
    return folder


@pytest.fixture
def name(postgres_url: str) -> str:
    """The database's."""
    return urlsplit(postgres_url).path.removeprefix("/")


@pytest.fixture
def authority() -> trustme.CA:
    """Who has signed the server's certificate."""
    return trustme.CA()


class TlsDoor:
    """Takes libpq's connections by TLS and hands on to the server what comes: that of the tests is built without TLS.

    Args:
        context: with the certificate.
        folder: where the server listens.
    """

    def __init__(self, context: ssl.SSLContext, folder: str) -> None:
        self._context, self._folder = context, folder
        self._ready, self._connections = threading.Event(), set[asyncio.Task[None]]()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self.port = 0
        self.opened = 0
        """How many connections were made by TLS."""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._take, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._over.wait()
        await asyncio.gather(*self._connections)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):  # whoever does not trust the certificate goes
            if await reader.readexactly(8) == SSL_REQUEST:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(self._context)
                self.opened += 1
                there, back = await asyncio.open_unix_connection(f"{self._folder}/.s.PGSQL.5432")
                await asyncio.gather(self._hand_on(reader, back), self._hand_on(there, writer))
        await self._close(writer)
        self._connections.discard(task)

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        await self._close(writer)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
def door(authority: trustme.CA, folder_of_socket: str) -> Iterator[TlsDoor]:
    """An address of the server's that takes TLS, as `localhost`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with TlsDoor(context, folder_of_socket) as opened:
        yield opened


def process_an_order(url: str) -> None:
    with OrderEngine(url, handler=lambda _: None) as engine:
        assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED
        assert engine.order("o-1").status is OrderStatus.COMPLETED


def why_refused(url: str) -> str:
    with pytest.raises(DatabaseRefused) as refused:
        connect(url).open_writer(Durability.FULL)
    return str(refused.value)


@pytest.mark.parametrize("place", ["url", "variable", "file"])
def test_a_password_comes_from_the_url_or_from_where_libpq_looks(
    place: str, folder_of_socket: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    user = f"{USER}:{quote(PASSWORD, safe='')}" if place == "url" else USER
    if place == "variable":
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
    elif place == "file":
        passwords = tmp_path / "passwords"
        passwords.touch(mode=0o600)
        passwords.write_text(f"*:*:*:{USER}:{PASSWORD.replace(':', chr(92) + ':')}\n")
        monkeypatch.setenv("PGPASSFILE", str(passwords))

    process_an_order(f"postgresql://{user}@/{name}?host={quote(folder_of_socket, safe='')}")


def test_a_wrong_password_is_refused_and_told_to_nobody(folder_of_socket: str, name: str) -> None:
    told = why_refused(f"postgresql://{USER}:letmein@/{name}?host={quote(folder_of_socket, safe='')}")

    assert "password authentication failed" in told
    assert "letmein" not in told


def test_every_connection_is_by_tls_where_the_url_says_so(
    door: TlsDoor, authority: trustme.CA, name: str, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    of_tls = f"sslmode=verify-full&sslrootcert={quote(str(tmp_path / 'ca.pem'), safe='')}"

    process_an_order(f"postgresql://{USER}:{quote(PASSWORD, safe='')}@localhost:{door.port}/{name}?{of_tls}")

    assert door.opened > 1  # the one that writes, and those that read


def test_tls_by_libpqs_variables_is_tls_too(
    door: TlsDoor, authority: trustme.CA, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    variables = {"HOST": "localhost", "PORT": str(door.port), "USER": USER, "PASSWORD": PASSWORD}
    variables |= {"SSLMODE": "verify-full", "SSLROOTCERT": str(tmp_path / "ca.pem")}
    for variable, value in variables.items():
        monkeypatch.setenv(f"PG{variable}", value)

    process_an_order(f"postgresql:///{name}")

    assert door.opened > 1


def test_a_server_whose_certificate_is_anothers_is_refused(
    door: TlsDoor, authority: trustme.CA, name: str, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    of_user = f"postgresql://{USER}:{quote(PASSWORD, safe='')}"

    def url(host: str, root: str) -> str:
        path = quote(str(tmp_path / root), safe="")
        return f"{of_user}@{host}:{door.port}/{name}?sslmode=verify-full&sslrootcert={path}"

    assert "certificate verify failed" in why_refused(url("localhost", "other.pem"))
    assert "does not match host name" in why_refused(url("127.0.0.1", "ca.pem"))
