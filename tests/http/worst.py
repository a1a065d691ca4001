"""The worst things that are known, all at the same time, beside normal clients.

`python tests/http/worst.py`, and once more with `--tls`: a real `ordermill serve` with keys, a process of strangers
without one and of a caller whose key is good for its own user only, and normal clients that send orders and ask for
them: first alone, then among the others, then alone again, when all that the others held has to be free. Then all of it
once more: the memory that the first time has left must do for the second.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import socket
import ssl
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import trustme
import typer
from hostile import Normal, Service, serving

from ordermill.http.security.api_keys import Role, create_key
from ordermill.http.transport.tuning import allow_connections

MAX_MEBIBYTES = 300
"""Of the server, whatever is done to it."""

_MAX_GROWTH = 1.1
_LEAST_NICE = 19
_CALM_SECONDS = 5
_FREED_SECONDS = 10
_PATIENCE_SECONDS = 60
_ORDERS = 500
_MEBIBYTE = 1024 * 1024
_HOST = b"Host: localhost\r\nContent-Type: application/json\r\n"
_UNKNOWN = b"{" + b",".join(b'"%x":1' % number for number in range(5_000)) + b"}\n"


@dataclass
class Verdict:
    """What came of it."""

    alone: list[Service] = field(default_factory=list)
    """Before the attacks, between them, and after them."""
    among: list[Service] = field(default_factory=list)
    p99_ratio: float = 0.0
    """Of those among the others to those alone, of all times together: other processes too make the times differ."""
    mebibytes: dict[str, list[int]] = field(default_factory=dict)
    """Of the server, each time: before, at the worst so far, and some seconds after."""
    attacks: dict[str, int] = field(default_factory=dict)
    """How often each was made."""
    wrong: list[str] = field(default_factory=list)
    """Answers to normal clients that were not the right ones, and what the server said was wrong."""


class Attacker:
    """Attacks a server, in a process of its own.

    Args:
        port: of the server.
        key: good for the orders of one user.
        trust: certificates, where the server speaks TLS.
    """

    def __init__(self, port: int, key: str, trust: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._trust = trust
        self._key = b"Authorization: Bearer %b\r\n" % key.encode()
        self._numbers = count()

    async def make_it_split(self) -> None:
        """1: headers that some readers take seconds for."""
        for path, name in ((b"/metrics", b"Accept"), (b"/docs", b"Accept-Encoding"), (b"/docs", b"Cookie")):
            await self._ask(b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b: %b\r\n\r\n" % (path, name, b',"' * 4_000))

    async def send_without_a_key(self) -> None:
        """2: large bodies, one after the other."""
        head = b"POST /orders/bulk HTTP/1.1\r\n" + _HOST + b"Content-Length: %d\r\n\r\n" % (16 * _MEBIBYTE)
        await self._ask(head + b" " * (2 * _MEBIBYTE))

    async def send_to_nowhere(self) -> None:
        """3: bodies for what there is not, in chunks."""
        head = b"POST /nothing HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        await self._ask(head + b"1\r\na\r\n" * 50_000)

    async def never_end_a_head(self) -> None:
        """4: as much of a head as is taken, and nothing after it."""
        await self._ask(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + (b"X: " + b"a" * 1_000 + b"\r\n") * 30)

    async def never_read(self) -> None:
        """5: the largest file there is, again and again, and no look at it."""
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self._port))
            _, writer = await self._open(sock=connection, limit=1024)
            try:
                writer.write(b"GET /docs/swagger.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4)
                await asyncio.sleep(20)
            finally:
                writer.transport.abort()

    async def send_unknown_fields(self) -> None:
        """6: a large bulk of what are no orders."""
        await self._send(b"POST", b"/orders/bulk", _UNKNOWN * (8 * _MEBIBYTE // len(_UNKNOWN)), b"application/x-ndjson")

    async def list_large_orders(self) -> None:
        """7: lists of orders with many items."""
        await self._send(b"GET", b"/orders?limit=1000")

    async def wait_and_hang_up(self) -> None:
        """8: waits, some of which are left."""
        order_id = await self._submit(b"waits", [f"sku-{next(self._numbers)}"])
        _, writer = await self._open()
        writer.write(b"GET /orders/%b?wait=30 HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (order_id, self._key))
        await asyncio.sleep(1)
        writer.close()

    async def name_it_anew(self) -> None:
        """9: one order again and again, each time with another idempotency key, and lists of what there is not."""
        for _ in range(20):
            await self._submit(b"same", ["sku-1"], b"Idempotency-Key: k-%d\r\n" % next(self._numbers), b"same")
        await self._send(b"GET", b"/orders?status=Pending")

    async def reset(self) -> None:
        """10: connections that are reset at once."""
        for _ in range(20):
            with socket.socket() as connection:
                connection.setblocking(False)
                await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self._port))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def say_hello_again(self) -> None:
        """11: the same hello, from many at once, which costs a server far more than its clients."""
        said = _hello(self._trust)
        opened = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(20)]
        for _, writer in opened:
            writer.write(said)
        for reader, writer in opened:
            with suppress(ConnectionError):
                await reader.read(65536)
            writer.close()

    async def never_end_a_hello(self) -> None:
        """12: most of a hello, and nothing after it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(_hello(self._trust)[:-1])
            await reader.read()
        finally:
            writer.close()

    async def fill(self) -> None:
        """Store what is to be listed."""
        for batch in range(4):
            large = {"user_id": "mallory", "item_ids": ["x" * 64] * 100, "total_amount": 1}
            orders = [large | {"order_id": f"l-{batch}-{number}"} for number in range(500)]
            await self._send(b"POST", b"/orders/bulk", json.dumps(orders).encode())

    async def _submit(self, kind: bytes, items: list[str], lines: bytes = b"", name: bytes = b"") -> bytes:
        order_id = name or b"%b-%d" % (kind, next(self._numbers))
        order = {"order_id": order_id.decode(), "user_id": "mallory", "item_ids": items, "total_amount": 1}
        await self._send(b"POST", b"/orders", json.dumps(order).encode(), lines=lines)
        return order_id

    async def _send(
        self,
        method: bytes,
        path: bytes,
        body: bytes = b"",
        media_type: bytes = b"application/json",
        lines: bytes = b"",
    ) -> None:
        head = b"%b %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\n" % (method, path, media_type)
        lines += self._key + b"Connection: close\r\n"
        if method == b"POST":
            lines += b"Content-Length: %d\r\n" % len(body)
        await self._ask(head + lines + b"\r\n" + body)

    async def _ask(self, request: bytes) -> None:
        reader, writer = await self._open()
        try:
            writer.write(request)
            with suppress(ConnectionError):
                await writer.drain()
                while await reader.read(65536):
                    pass
        finally:
            writer.close()

    async def _open(
        self, sock: socket.socket | None = None, limit: int = 65536
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if sock is None:
            return await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trust, limit=limit)
        name = None if self._trust is None else "127.0.0.1"
        return await asyncio.open_connection(sock=sock, ssl=self._trust, server_hostname=name, limit=limit)


def _hello(trust: ssl.SSLContext | None) -> bytes:
    assert trust is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        trust.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()


Attack = Callable[[], Coroutine[Any, Any, None]]


def attacks_of(attacker: Attacker, strangers: int, *, is_secure: bool = False) -> list[tuple[Attack, int, float]]:
    """Each attack, how many make it at the same time, and how many seconds each of them rests in between."""
    share = max(1, strangers // 5)
    attacks: list[tuple[Attack, int, float]] = [
        (attacker.make_it_split, share, 10),
        (attacker.send_without_a_key, max(1, share // 20), 1),
        (attacker.send_to_nowhere, max(1, share // 20), 1),
        (attacker.never_end_a_head, share, 1),
        (attacker.never_read, share, 1),
        (attacker.send_unknown_fields, 2, 1),
        (attacker.list_large_orders, 4, 1),
        (attacker.wait_and_hang_up, share, 5),
        (attacker.name_it_anew, 2, 1),
        (attacker.reset, max(1, share // 20), 0.5),
    ]
    if is_secure:
        attacks += [(attacker.say_hello_again, max(1, share // 20), 1), (attacker.never_end_a_hello, share, 1)]
    return attacks


def _attack(port: int, key: str, strangers: int, authority: Path | None, parent: Connection) -> None:
    made: dict[str, int] = {}

    async def again_and_again(attack: Attack, rest: float, delay: float) -> None:
        await asyncio.sleep(delay)
        while True:
            with suppress(OSError):
                await attack()
            made[attack.__name__] = made.get(attack.__name__, 0) + 1
            await asyncio.sleep(rest)

    async def run() -> None:
        attacker = Attacker(port, key, _trust_of(authority))
        await attacker.fill()
        tasks = [
            asyncio.create_task(again_and_again(attack, rest, 3 * number / clients))
            for attack, clients, rest in attacks_of(attacker, strangers, is_secure=authority is not None)
            for number in range(clients)
        ]
        parent.send("ready")
        await asyncio.get_running_loop().run_in_executor(None, parent.recv)
        for task in tasks:
            task.cancel()
        parent.send(made)

    # Strangers have processors of their own. Here they get what the server and its normal clients leave.
    os.nice(_LEAST_NICE)
    allow_connections(2 * strangers)
    asyncio.run(run())


def _trust_of(authority: Path | None) -> ssl.SSLContext | None:
    return None if authority is None else ssl.create_default_context(cafile=authority)


def _certify(folder: Path) -> tuple[Path, list[str]]:
    """An authority's certificate, and the options of a server that it has given one to."""
    authority, key, certificate = folder / "authority.pem", folder / "key.pem", folder / "certificate.pem"
    issuer = trustme.CA()
    issued = issuer.issue_cert("127.0.0.1")
    issuer.cert_pem.write_to_path(authority)
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(certificate)
    key.chmod(0o600)
    return authority, ["--tls-cert", str(certificate), "--tls-key", str(key)]


def _mebibytes(process_id: int, name: str) -> int:
    status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii")
    (kibibytes,) = re.findall(rf"{name}:\s+(\d+) kB", status)
    return int(kibibytes) // 1024


@contextmanager
def _attacked(port: int, key: str, strangers: int, authority: Path | None, made: Counter[str]) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    attacking = context.Process(target=_attack, args=(port, key, strangers, authority, there), daemon=True)
    attacking.start()
    try:
        assert here.poll(_PATIENCE_SECONDS), "the attack did not begin"
        here.recv()
        yield
        here.send("stop")
        made.update(here.recv())
        attacking.join(_PATIENCE_SECONDS)
    finally:
        attacking.kill()
        attacking.join()


def run_worst(folder: Path, strangers: int, clients: int, seconds: float, *, is_secure: bool) -> Verdict:
    """Measure normal clients alone and among those who do the worst they can, and what those leave behind; twice.

    Args:
        folder: empty; afterwards it has the database and what the server wrote to standard error.
        strangers: how many there are, about.
        clients: normal clients.
        seconds: how long they are among the others each time.
        is_secure: whether all of them speak TLS.
    """
    verdict = Verdict()
    keys = folder / "keys"
    normal_key = create_key(keys, [Role.OPERATE])
    bad_key = create_key(keys, [Role.SUBMIT, Role.READ], user="mallory")
    authority, options = _certify(folder) if is_secure else (None, [])
    made: Counter[str] = Counter()
    before, worst, after = (verdict.mebibytes.setdefault(name, []) for name in ("before", "at the worst", "after"))
    with serving(folder, ["--keys-file", str(keys), *options], verdict.wrong) as (port, process_id):
        key_line = b"Authorization: Bearer %b\r\n" % normal_key.encode()
        normal = Normal(port, clients, verdict.wrong, key_line, _trust_of(authority))
        asyncio.run(normal.serve(orders=_ORDERS))
        for _ in range(2):
            verdict.alone.append(asyncio.run(normal.serve(_CALM_SECONDS)))
            before.append(_mebibytes(process_id, "VmRSS"))
            with _attacked(port, bad_key, strangers, authority, made):
                verdict.among.append(asyncio.run(normal.serve(seconds)))
            time.sleep(_FREED_SECONDS)
            worst.append(_mebibytes(process_id, "VmHWM"))
            after.append(_mebibytes(process_id, "VmRSS"))
        verdict.alone.append(asyncio.run(normal.serve(_CALM_SECONDS)))
    verdict.attacks = dict(made)
    alone, among = (mean(service.p99 for service in services) for services in (verdict.alone, verdict.among))
    verdict.p99_ratio = round(among / alone, 2)
    if worst[-1] > MAX_MEBIBYTES:
        verdict.wrong.append(f"the server took {worst[-1]} MiB of memory")
    if after[-1] > worst[0] * _MAX_GROWTH:
        verdict.wrong.append(f"the second time has left {after[-1]} MiB, and the first took no more than {worst[0]}")
    return verdict


def main(
    strangers: Annotated[int, typer.Option(min=10, help="Strangers, about.")] = 1000,
    clients: Annotated[int, typer.Option(min=1, help="Normal clients.")] = 8,
    seconds: Annotated[float, typer.Option(min=1, help="How long they are among the others each time.")] = 150,
    tls: Annotated[bool, typer.Option("--tls", help="Speak TLS, and do what can be done to that as well.")] = False,
    max_p99_ratio: Annotated[
        float, typer.Option(min=1, help="How much later they may be answered than when they are alone.")
    ] = 3.0,
) -> None:
    """Do the worst to a server; exit code 1 where normal clients are not served as they must be."""
    with tempfile.TemporaryDirectory() as folder:
        verdict = run_worst(Path(folder), strangers, clients, seconds, is_secure=tls)
    if verdict.p99_ratio > max_p99_ratio:
        verdict.wrong.append(f"the slowest answers came {verdict.p99_ratio} times as late")
    print(json.dumps(asdict(verdict), indent=2))
    if verdict.wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
