"""Who may do what: every call with every role, and with keys that are bound to a user."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ordermill.engine import Order, OrderEngine, Reject
from ordermill.http.api.event_feed import EventFeed
from ordermill.http.openapi import viewer as docs
from ordermill.http.routes import routes
from ordermill.http.security.api_keys import Role, create_key, id_of, revoke_key
from ordermill.http.security.keyring import GRACE_SECONDS
from ordermill.http.security.protection import UNPROTECTED

if TYPE_CHECKING:
    from tests.http.conftest import Client, Reply

MakeOrder = Callable[..., dict[str, Any]]
SUBMIT, READ, OPERATE = Role.SUBMIT, Role.READ, Role.OPERATE
SETTLEMENT = {"status": "Completed"}

NAMES = {"order_id": "o-1", "action_id": "1", "webhook_id": "wh_0", "queue": "eu"}
ALLOWED = {
    ("POST", "/orders"): {SUBMIT, OPERATE},
    ("GET", "/orders"): {READ, OPERATE},
    ("POST", "/orders/bulk"): {SUBMIT, OPERATE},
    ("GET", "/orders/{order_id}"): {READ, OPERATE},
    ("GET", "/orders/{order_id}/status"): {READ, OPERATE},
    ("GET", "/orders/{order_id}/history"): {READ, OPERATE},
    ("GET", "/orders/{order_id}/outlook"): {READ, OPERATE},
    ("POST", "/orders/{order_id}/cancel"): {SUBMIT, OPERATE},
    ("POST", "/orders/{order_id}/retry"): {OPERATE},
    ("POST", "/orders/{order_id}/reschedule"): {OPERATE},
    ("POST", "/orders/{order_id}/settle"): {OPERATE},
    ("POST", "/orders/actions"): {OPERATE},
    ("GET", "/orders/actions/{action_id}"): {READ, OPERATE},
    ("POST", "/orders/actions/{action_id}/stop"): {OPERATE},
    ("GET", "/failures"): {READ, OPERATE},
    ("POST", "/webhooks"): {OPERATE},
    ("GET", "/webhooks"): {READ, OPERATE},
    ("GET", "/webhooks/{webhook_id}"): {READ, OPERATE},
    ("PATCH", "/webhooks/{webhook_id}"): {OPERATE},
    ("DELETE", "/webhooks/{webhook_id}"): {OPERATE},
    ("POST", "/webhooks/{webhook_id}/rotate"): {OPERATE},
    ("POST", "/webhooks/{webhook_id}/test"): {OPERATE},
    ("POST", "/webhooks/{webhook_id}/replay"): {OPERATE},
    ("GET", "/webhooks/{webhook_id}/deliveries"): {READ, OPERATE},
    ("GET", "/events?timeout=0"): {READ, OPERATE},
    ("GET", "/control"): {READ, OPERATE},
    ("POST", "/control/pause"): {OPERATE},
    ("POST", "/control/resume"): {OPERATE},
    ("PUT", "/control/processors"): {OPERATE},
    ("GET", "/queues"): {READ, OPERATE},
    ("PUT", "/queues/{queue}"): {OPERATE},
    ("GET", "/audit"): {READ, OPERATE},
    ("POST", "/rehearsals"): {READ, OPERATE},
    ("GET", "/orders/actions"): {READ, OPERATE},
    ("GET", "/metrics"): {READ, OPERATE},
    ("GET", "/metrics/history"): {READ, OPERATE},
}
PUBLIC = [
    ("GET", path)
    for path in (
        *("/", "/healthz", "/readyz", "/openapi.json"),
        *("/docs", "/docs/docs.js", "/docs/docs.css", "/docs/swagger.js", "/docs/swagger.css"),
    )
]
OF_ALL_USERS = ("/rehearsals", "/control", "/queues", "/audit", "/failures", "/orders/actions")
SETS_OF_ROLES = [set(roles) for size in (1, 2, 3) for roles in itertools.combinations(Role, size)]


class Guarded(NamedTuple):
    """A server that needs keys."""

    client: Client
    keys: Path

    def key(self, *roles: Role, user: str | None = None) -> str:
        """A new key."""
        key = create_key(self.keys, roles or (Role.OPERATE,), user)
        self.client.application._protection.authenticator._keyring._entries._look_at = 0.0  # a second has passed
        return key

    def send(self, key: str | None, method: str, path: str, content: object = None, **headers: str) -> Reply:
        """Send a request with a key."""
        return self.client.send_json(
            method, path, content, headers | ({} if key is None else {"Authorization": f"Bearer {key}"})
        )


@pytest.fixture
def guarded(start_server: Callable[..., Client], tmp_path: Path) -> Guarded:
    """A server that needs keys, whose handler returns at once; orders with the item `bad` fail."""

    def reject_bad(order: Any) -> None:
        if "bad" in order.item_ids:
            raise Reject("bad")

    keys = tmp_path / "keys"
    create_key(keys, [Role.READ])
    return Guarded(start_server(reject_bad, keys_file=str(keys)), keys)


def body_for(path: str, order: MakeOrder) -> object:
    """A body that the call takes."""
    return {
        "/orders": order(),
        "/orders/{order_id}/reschedule": {"priority": 9},
        "/orders/bulk": [order()],
        "/orders/{order_id}/settle": SETTLEMENT,
        "/control/processors": {"processors": 2},
        "/queues/{queue}": {"paused": True},
        "/orders/actions": {"action": "retry", "where": {}},
        "/webhooks": {"url": "https://shop.example"},
        "/webhooks/{webhook_id}": {"enabled": False},
    }.get(path)


def as_sent(reply: Reply) -> tuple[int, bytes]:
    """What a client can tell two answers apart by, besides the id of the request."""
    return reply.status, reply.body


def test_every_route_is_here(start_engine: Callable[..., OrderEngine]) -> None:
    engine = start_engine()
    table = {(route.method, route.path) for route in routes(engine, EventFeed(engine, 1), 1, UNPROTECTED)}
    pages = {("GET", docs.MOUNTED_AT), *(("GET", f"{docs.MOUNTED_AT}/{name}") for name in docs._FILES)}

    assert table | pages == {(method, path.partition("?")[0]) for method, path in (*ALLOWED, *PUBLIC)}


@pytest.mark.parametrize(("method", "path"), ALLOWED)
def test_without_a_key_nothing_is_done(guarded: Guarded, order: MakeOrder, method: str, path: str) -> None:
    reply = guarded.send(
        None,
        method,
        path.format(**NAMES),
        body_for(path, order) if method != "GET" else None,
    )

    assert (reply.status, reply.json["type"]) == (401, "urn:ordermill:problem:key-required")
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="ordermill"'
    assert guarded.client.engine.orders() == []


@pytest.mark.parametrize(("method", "path"), ALLOWED)
@pytest.mark.parametrize("roles", SETS_OF_ROLES, ids=lambda roles: "+".join(sorted(roles)))
def test_a_key_is_good_for_what_its_roles_allow(
    guarded: Guarded, order: MakeOrder, method: str, path: str, roles: set[Role]
) -> None:
    content = body_for(path, order) if method != "GET" else None

    reply = guarded.send(guarded.key(*roles), method, path.format(**NAMES), content)

    if roles & ALLOWED[method, path]:
        assert reply.status in (200, 201, 202, 404)  # the order that it names is not there
    else:
        assert (reply.status, reply.json["type"]) == (403, "urn:ordermill:problem:key-not-enough")
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="ordermill", error="insufficient_scope"'
        assert all(role in reply.json["detail"] for role in ALLOWED[method, path])
        assert guarded.client.engine.orders() == []


@pytest.mark.parametrize(("method", "path"), PUBLIC)
def test_what_is_public_needs_no_key(guarded: Guarded, method: str, path: str) -> None:
    assert guarded.send(None, method, path).status == 200
    assert guarded.send("nonsense", method, path).status == 200


@pytest.mark.parametrize("path", ["/orders", "/orders/o-1", "/metrics", "/healthz"])
def test_options_needs_no_key_since_browsers_ask_before_they_send_one(guarded: Guarded, path: str) -> None:
    assert guarded.send(None, "OPTIONS", path).status == 204


@pytest.mark.parametrize(("method", "path"), ALLOWED)
def test_head_asks_for_the_same_key_as_get(guarded: Guarded, method: str, path: str) -> None:
    if method == "GET":
        assert guarded.send(None, "HEAD", path.format(**NAMES)).status == 401


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic dTpw", "om_{key}", "Bearer om_000000000000_00", "Bearer ü", "Bearer {key}, {key}"],
)
def test_what_is_no_key_is_refused_before_the_body_is_looked_at(guarded: Guarded, authorization: str) -> None:
    key = guarded.key()

    reply = guarded.client.send(
        "POST", "/orders", b"nonsense", {"Authorization": authorization.format(key=key).encode("latin-1")}
    )

    assert reply.status == 401
    assert key.rpartition("_")[2] not in reply.body.decode()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(guarded: Guarded, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {guarded.key()}"}

    assert guarded.client.send("GET", "/orders", headers=headers).status == 200


def test_a_revoked_key_is_told_from_a_missing_one(guarded: Guarded) -> None:
    key = guarded.key()
    assert guarded.send(key, "GET", "/orders").status == 200
    revoke_key(guarded.keys, id_of(key))
    guarded.key()

    reply = guarded.send(key, "GET", "/orders")

    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="ordermill", error="invalid_token"'


class TestBoundKey:
    """A key that is bound to u-1, beside an order of u-1 and one of u-2."""

    @pytest.fixture
    def all_roles(self, guarded: Guarded, order: MakeOrder) -> str:
        """The key, good for everything of u-1."""
        operator = guarded.key()
        for user in ("u-1", "u-2"):
            guarded.send(operator, "POST", "/orders", order(f"of-{user}", user_id=user, item_ids=["bad"]))
            guarded.send(operator, "GET", f"/orders/of-{user}?wait=30")
        return guarded.key(*Role, user="u-1")

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            (method, path)
            for method, path in ALLOWED
            if path.startswith(("/control", "/audit", "/failures", "/orders/actions"))
        ],
    )
    def test_what_concerns_all_users_needs_a_key_that_is_bound_to_none(
        self, guarded: Guarded, all_roles: str, order: MakeOrder, method: str, path: str
    ) -> None:
        content = body_for(path, order) if method != "GET" else None
        reply = guarded.send(all_roles, method, path.format(action_id="1"), content)

        assert reply.status == 403
        assert not guarded.client.engine.control().paused

    @pytest.mark.parametrize(("method", "path"), [(method, path) for method, path in ALLOWED if "{order_id}" in path])
    @pytest.mark.parametrize("query", ["", "?wait=1"])
    def test_the_order_of_another_user_is_as_if_it_were_not_there(
        self, guarded: Guarded, all_roles: str, order: MakeOrder, method: str, path: str, query: str
    ) -> None:
        if query and path != "/orders/{order_id}":
            query = ""
        content = body_for(path, order) if method != "GET" else None
        other = guarded.send(all_roles, method, path.format(order_id="of-u-2") + query, content)
        none = guarded.send(all_roles, method, path.format(order_id="of-u-3") + query, content)

        assert as_sent(other) == (404, none.body.replace(b"of-u-3", b"of-u-2"))
        assert sorted(set(other.headers) - {"X-Request-ID"}) == sorted(set(none.headers) - {"X-Request-ID"})
        assert guarded.client.engine.order("of-u-2").status == "Failed"

    @pytest.mark.parametrize("path", ["", "/status", "/history"])
    def test_its_own_order_is_there(self, guarded: Guarded, all_roles: str, path: str) -> None:
        assert guarded.send(all_roles, "GET", f"/orders/of-u-1{path}").status == 200

    def test_its_own_order_may_be_moved(self, guarded: Guarded, all_roles: str) -> None:
        assert guarded.send(all_roles, "POST", "/orders/of-u-1/retry").json["order_id"] == "of-u-1"

    @pytest.mark.parametrize("query", ["", "?user_id=u-1", "?status=Failed", "?limit=10"])
    def test_the_list_has_its_own_orders_only(self, guarded: Guarded, all_roles: str, query: str) -> None:
        page = guarded.send(all_roles, "GET", f"/orders{query}").json

        assert [entry["order_id"] for entry in page["orders"]] == ["of-u-1"]
        assert page["next_cursor"] is None

    def test_the_list_of_another_user_is_empty(self, guarded: Guarded, all_roles: str) -> None:
        other = guarded.send(all_roles, "GET", "/orders?user_id=u-2")
        none = guarded.send(all_roles, "GET", "/orders?user_id=u-3")

        assert as_sent(other) == as_sent(none) == (200, b'{"orders":[],"next_cursor":null}')

    def test_it_submits_for_its_own_user_only(self, guarded: Guarded, all_roles: str, order: MakeOrder) -> None:
        assert guarded.send(all_roles, "POST", "/orders", order("mine", user_id="u-1")).status == 201
        for order_id in ("new", "of-u-2", "of-u-1"):
            reply = guarded.send(all_roles, "POST", "/orders", order(order_id, user_id="u-2"))
            assert (reply.status, reply.json["detail"]) == (403, "This key is good for the orders of user 'u-1' only.")
        assert guarded.send(guarded.key(), "GET", "/orders/new").status == 404

    def test_an_id_that_another_user_has_taken_is_a_conflict_without_content(
        self, guarded: Guarded, all_roles: str, order: MakeOrder
    ) -> None:
        reply = guarded.send(all_roles, "POST", "/orders", order("of-u-2", user_id="u-1", item_ids=["bad"]))

        assert (reply.status, reply.json["type"]) == (409, "urn:ordermill:problem:order-conflict")
        assert reply.json["detail"] == "The id 'of-u-2' is taken: send it under an id of its own."
        assert b"u-2'" not in reply.body.replace(b"of-u-2", b"")
        assert b"bad" not in reply.body

    def test_a_bulk_takes_its_own_and_rejects_the_others(
        self, guarded: Guarded, all_roles: str, order: MakeOrder
    ) -> None:
        sent = [order("a"), order("b", user_id="u-2"), order("of-u-2"), order("of-u-2", user_id="u-2"), order("c")]

        reply = guarded.send(all_roles, "POST", "/orders/bulk", sent)

        assert [result["outcome"] for result in reply.json["results"]] == [
            *("accepted", "rejected", "rejected", "rejected", "accepted")
        ]
        foreign = "the key is good for the orders of its own user only"
        assert reply.json["results"][1] == {"order_id": "b", "outcome": "rejected", "detail": foreign}
        assert reply.json["results"][2]["detail"] == "the id is taken"
        assert reply.json["results"][3]["detail"] == foreign
        assert guarded.send(guarded.key(), "GET", "/orders/b").status == 404

    def test_the_metrics_of_all_users_are_not_for_it(self, guarded: Guarded, all_roles: str) -> None:
        reply = guarded.send(all_roles, "GET", "/metrics")

        assert (reply.status, reply.json["detail"]) == (403, "This needs a key that is not bound to a user.")


class TestSubmitOnly:
    """A key that may send orders and cancel them, and is not to know where they are."""

    UNKNOWN = ("attempts", "failures", "last_error", "ready_at", "status", "updated_at")

    @pytest.mark.parametrize("user", [None, "u-1"])
    def test_it_learns_nothing_by_sending_an_order_again(
        self, guarded: Guarded, order: MakeOrder, user: str | None
    ) -> None:
        key, operator = guarded.key(SUBMIT, user=user), guarded.key()
        first = guarded.send(key, "POST", "/orders", order(item_ids=["bad"]))
        assert guarded.send(operator, "GET", "/orders/o-1?wait=30").json["status"] == "Failed"

        again = guarded.send(key, "POST", "/orders", order(item_ids=["bad"]))

        assert (first.status, again.status) == (201, 200)
        assert {name: again.json[name] for name in self.UNKNOWN if name != "ready_at"} == {
            name: first.json[name] for name in self.UNKNOWN if name != "ready_at"
        }
        assert "Failed" not in str(again.headers)
        assert guarded.send(operator, "POST", "/orders", order(item_ids=["bad"])).json["status"] == "Failed"

    def test_it_learns_nothing_by_a_cancel_that_is_refused(self, guarded: Guarded, order: MakeOrder) -> None:
        key, operator = guarded.key(SUBMIT), guarded.key()
        replies = []
        for item in ("bad", "good"):
            guarded.send(key, "POST", "/orders", order(item, item_ids=[item]))
            guarded.send(operator, "GET", f"/orders/{item}?wait=30")
            replies.append(guarded.send(key, "POST", f"/orders/{item}/cancel"))

        assert [reply.status for reply in replies] == [409, 409]
        assert replies[0].body.replace(b"'bad'", b"'good'") == replies[1].body
        assert replies[1].json["detail"] == "Order 'good' cannot become Cancelled any more."
        known = guarded.send(operator, "POST", "/orders/bad/cancel").json["detail"]
        assert known == "Order 'bad' is Failed, which does not allow it to become Cancelled."

    def test_it_sees_that_an_order_is_cancelled_and_not_what_was_before(
        self, start_server: Callable[..., Client], order: MakeOrder, tmp_path: Path
    ) -> None:
        keys = tmp_path / "keys"
        key, operator = create_key(keys, [SUBMIT]), create_key(keys, [OPERATE])
        failed = threading.Event()

        def fail(_: Order) -> None:
            failed.set()
            raise ValueError("secret")

        client = start_server(fail, keys_file=str(keys), retry_seconds=900, retry_max_seconds=900)
        guarded = Guarded(client, keys)
        guarded.send(key, "POST", "/orders", order())
        assert failed.wait(timeout=60)
        while guarded.send(operator, "GET", "/orders/o-1").json["last_error"] is None:
            time.sleep(0.01)

        reply = guarded.send(key, "POST", "/orders/o-1/cancel")

        assert (reply.status, reply.json["status"]) == (200, "Cancelled")
        assert (reply.json["attempts"], reply.json["failures"], reply.json["last_error"]) == (0, 0, None)
        assert guarded.send(operator, "GET", "/orders/o-1").json["last_error"] == "ValueError: secret"


def test_a_server_is_not_ready_while_its_keys_cannot_be_read_and_tells_nothing_of_them(guarded: Guarded) -> None:
    key = guarded.key()
    assert guarded.client.get("/readyz").json["reasons"] == []
    guarded.keys.write_text("nonsense\n")
    guarded.client.application._protection.authenticator._keyring._entries._look_at = 0.0

    reply = guarded.client.get("/readyz")

    assert (reply.status, reply.json["status"]) == (503, "unavailable")
    assert reply.json["reasons"] == [
        "the file of the keys cannot be read again, what was read before holds: the log says why"
    ]
    assert guarded.send(key, "GET", "/orders").status == 200


def test_nobody_gets_in_once_the_keys_were_unreadable_for_long(guarded: Guarded) -> None:
    key = guarded.key()
    assert guarded.send(key, "GET", "/orders").status == 200
    guarded.keys.write_text("nonsense\n")
    entries = guarded.client.application._protection.authenticator._keyring._entries
    entries._look_at = 0.0
    assert guarded.send(key, "GET", "/orders").status == 200
    entries.failing_since -= GRACE_SECONDS

    for sent in (key, "om_000000000000_0"):
        reply = guarded.send(sent, "GET", "/orders")
        assert (reply.status, reply.json["type"]) == (503, "urn:ordermill:problem:keys-unreadable")
    assert guarded.client.get("/healthz").status == 200
    assert "no key is taken" in guarded.client.get("/readyz").json["reasons"][0]


def test_without_a_file_of_keys_whoever_calls_may_do_everything(client: Client, order: MakeOrder) -> None:
    assert client.post("/orders", order()).status == 201
    assert client.get("/orders", Authorization="Bearer nonsense").status == 200


def test_the_history_tells_whose_key_it_was(guarded: Guarded, order: MakeOrder) -> None:
    shop = create_key(guarded.keys, [Role.SUBMIT], name="shop")
    operator = guarded.key(OPERATE)
    guarded.send(shop, "POST", "/orders", order(item_ids=["bad"]))
    guarded.send(operator, "GET", "/orders/o-1?wait=30")

    guarded.send(operator, "POST", "/orders/o-1/retry", {"reason": "once more"})

    steps = guarded.send(operator, "GET", "/orders/o-1/history").json["transitions"]
    assert [step.get("by") for step in steps[:4]] == ["shop", None, None, id_of(operator)]
    assert steps[3]["reason"] == "once more"


def test_nobody_is_named_where_no_key_is_needed(client: Client, order: MakeOrder) -> None:
    client.post("/orders", order())

    assert "by" not in client.get("/orders/o-1/history").json["transitions"][0]
