"""What one would write instead: FastAPI, an asyncio.Queue, aiosqlite, 8 workers, one commit for each transition.

As durable as Ordermill: WAL, synchronous=FULL, and each of an order's three transitions is on disk before the next.

`PEER_DB=peer.db uvicorn fastapi_peer:app --port 9201 --no-access-log --log-level error`; the database is removed at
the start. Orders on POST /orders, counts on GET /counts; POST /noop validates and answers without storing anything,
which is the ceiling of this stack.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

DATABASE = os.environ.get("PEER_DB", "peer.db")
WORKERS = 8
SCHEMA = """
create table orders(order_id text primary key, user_id text not null, item_ids text not null,
                    total_cents integer not null, status text not null, created_at real not null);
create table transitions(id integer primary key, order_id text not null, status text not null, at real not null);
create index transitions_order on transitions(order_id);
"""
INSERT_ORDER = "insert into orders values(?,?,?,?,?,?)"
UPDATE_ORDER = "update orders set status=? where order_id=?"
INSERT_TRANSITION = "insert into transitions(order_id,status,at) values(?,?,?)"


class Order(BaseModel):
    """An order as clients send it."""

    order_id: str
    user_id: str
    item_ids: list[str]
    total_amount: float


class State:
    """What the requests and the workers share."""

    db: aiosqlite.Connection
    queue: asyncio.Queue[str]
    lock: asyncio.Lock
    """Held for a transaction: there is one connection."""


state = State()


async def move(order_id: str, status: str) -> None:
    """Record a transition."""
    async with state.lock:
        await state.db.execute("begin immediate")
        await state.db.execute(UPDATE_ORDER, (status, order_id))
        await state.db.execute(INSERT_TRANSITION, (order_id, status, time.time()))
        await state.db.execute("commit")


async def work() -> None:
    """Put one order after the other through a handler that does nothing."""
    while True:
        order_id = await state.queue.get()
        await move(order_id, "Processing")
        await move(order_id, "Completed")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open a new database, and start the workers."""
    for suffix in ("", "-wal", "-shm"):
        Path(DATABASE + suffix).unlink(missing_ok=True)
    state.queue, state.lock = asyncio.Queue(), asyncio.Lock()
    state.db = await aiosqlite.connect(DATABASE, isolation_level=None)
    await state.db.execute("pragma journal_mode=wal")
    await state.db.execute("pragma synchronous=full")
    await state.db.executescript(SCHEMA)
    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
    yield
    for task in workers:
        task.cancel()
    await state.db.close()


app = FastAPI(lifespan=lifespan)


@app.post("/noop", status_code=201)
async def noop(order: Order) -> dict[str, str]:
    """Validate and answer."""
    return {"order_id": order.order_id, "status": "Pending"}


@app.post("/orders", status_code=201)
async def create(order: Order) -> dict[str, str]:
    """Store an order, and put it into the queue."""
    now = time.time()
    items, cents = json.dumps(order.item_ids), round(order.total_amount * 100)
    async with state.lock:
        await state.db.execute("begin immediate")
        try:
            await state.db.execute(INSERT_ORDER, (order.order_id, order.user_id, items, cents, "Pending", now))
        except aiosqlite.IntegrityError:
            await state.db.execute("rollback")
            raise HTTPException(409, "exists") from None
        await state.db.execute(INSERT_TRANSITION, (order.order_id, "Pending", now))
        await state.db.execute("commit")
    await state.queue.put(order.order_id)
    return {"order_id": order.order_id, "status": "Pending"}


@app.get("/counts")
async def counts() -> dict[str, int]:
    """How many orders are in each status."""
    rows = await (await state.db.execute("select status, count(*) from orders group by 1")).fetchall()
    return dict(tuple(row) for row in rows)
