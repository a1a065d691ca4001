"""An order is sound when it is made, and stays so."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation, Rounded, localcontext
from enum import StrEnum
from typing import Any

import msgspec
import pytest

from ordermill.engine.testing import make_order
from ordermill.store.domain.errors import FieldFault, InvalidOrder
from ordermill.store.domain.order import FIELDS, Order, amount_from_cents, find_faults, format_amount

IDENTIFIER_FAULT = "must be a string of 1 to 64 characters of A-Z a-z 0-9 . _ : -, and not of dots alone"
USER_FAULT = "must be a string of 1 to 128 visible characters of ASCII, without blanks, double quotes and backslashes"
MONEY_FAULT = "must be a decimal amount from 0 to 9999999999.99 with at most two fraction digits"


def faults_of(**fields: Any) -> tuple[FieldFault, ...]:
    with pytest.raises(InvalidOrder) as caught:
        make_order(**fields)
    return caught.value.faults


@pytest.mark.parametrize("identifier", ["a", "Z", "0", "a" * 64, "A-z_0.9:x"])
def test_an_identifier_has_up_to_64_plain_characters(identifier: str) -> None:
    order = make_order(identifier, user_id=identifier, item_ids=(identifier,))

    assert (order.order_id, order.user_id, order.item_ids) == (identifier, identifier, (identifier,))


@pytest.mark.parametrize(
    "value", ["", "a" * 65, "a b", "a\n", "a/b", "é", "\u0661", "a\x00", None, 7, b"a", ["a"], True], ids=repr
)
def test_any_other_identifier_is_refused(value: object) -> None:
    assert faults_of(order_id=value) == (FieldFault("/order_id", IDENTIFIER_FAULT),)


@pytest.mark.parametrize(
    "user_id", ["a", "a" * 128, "jane.o'neill+shop@mail.example.com", "a/b", "user:7", "!#$%&'*+-/=?^_`{|}~@x"]
)
def test_a_user_may_be_an_email_address(user_id: str) -> None:
    assert make_order(user_id=user_id).user_id == user_id


@pytest.mark.parametrize(
    "value",
    ["", "a" * 129, "a b", "a\n", 'a"b', "a\\b", "é", "\u0661", "a\x00", "a\x7f", None, 7, b"a", ["a"], True],
    ids=repr,
)
def test_any_other_user_is_refused(value: object) -> None:
    assert faults_of(user_id=value) == (FieldFault("/user_id", USER_FAULT),)


@pytest.mark.parametrize("count", [1, 100])
def test_an_order_has_1_to_100_items(count: int) -> None:
    assert len(make_order(item_ids=("sku",) * count).item_ids) == count


@pytest.mark.parametrize("count", [0, 101])
def test_an_order_with_fewer_or_more_items_is_refused(count: int) -> None:
    assert faults_of(item_ids=("sku",) * count) == (FieldFault("/item_ids", f"must have 1 to 100 items, has {count}"),)


@pytest.mark.parametrize("items", ["sku-1", b"sku-1", None, 5, {"sku-1"}, {"sku-1": 1}], ids=repr)
def test_items_are_a_list(items: object) -> None:
    assert faults_of(item_ids=items) == (FieldFault("/item_ids", "must be a list of 1 to 100 item ids"),)


def test_each_wrong_item_is_named() -> None:
    assert faults_of(item_ids=("sku-1", "", "sku-2", 3, None, ["sku"])) == tuple(
        FieldFault(f"/item_ids/{index}", IDENTIFIER_FAULT) for index in (1, 3, 4, 5)
    )


def test_items_keep_their_sequence_and_repeats() -> None:
    assert make_order(item_ids=("b", "a", "b")).item_ids == ("b", "a", "b")


def test_a_list_of_items_is_copied() -> None:
    items = ["sku-1"]

    order = make_order(item_ids=items)
    items.append("sku-2")

    assert order.item_ids == ("sku-1",)


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        (Decimal("0"), 0),
        (Decimal("0.00"), 0),
        (Decimal("0E+999"), 0),
        (Decimal("0.01"), 1),
        (Decimal("0.1"), 10),
        (Decimal("19.99"), 1999),
        (Decimal("1E+9"), 100_000_000_000),
        (Decimal("9999999999.99"), 999_999_999_999),
        (0, 0),
        (7, 700),
        (9_999_999_999, 999_999_999_900),
    ],
)
def test_an_amount_is_kept_in_exact_cents(amount: Decimal | int, cents: int) -> None:
    order = make_order(total_amount=amount)

    assert type(order.total_amount) is Decimal
    assert type(order.total_cents) is int
    assert order.total_cents == cents


@pytest.mark.parametrize(
    "amount",
    [
        Decimal("-0.01"),
        Decimal("10000000000"),
        Decimal("9999999999.991"),
        Decimal("0.001"),
        Decimal("1.000"),
        Decimal("1." + "0" * 40),
        Decimal("1" * 40),
        Decimal("19.99" + "0" * 40 + "1"),
        Decimal("1E+999999"),
        Decimal("1E-999999"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        -1,
        10**10,
        10**5000,
        19.99,
        1.0,
        float("nan"),
        float("inf"),
        True,
        False,
        "19.99",
        None,
        ["1"],
    ],
    ids=lambda amount: str(amount)[:24] if not isinstance(amount, int) or abs(amount) < 10**20 else "huge",
)
def test_any_other_amount_is_refused(amount: object) -> None:
    assert faults_of(total_amount=amount) == (FieldFault("/total_amount", MONEY_FAULT),)


@pytest.mark.parametrize(
    "context",
    [Context(prec=1), Context(prec=6, traps=[Inexact, Rounded, InvalidOperation]), Context(prec=1, Emax=0, Emin=0)],
    ids=["one digit", "traps", "no exponents"],
)
def test_money_does_not_depend_on_the_callers_arithmetic(context: Context) -> None:
    with localcontext(context):
        orders = [make_order(total_amount=amount) for amount in (Decimal("9999999999.99"), Decimal("1E+9"), 7)]
        stored = Order.stored("o-1", "u-1", ("sku-1", "sku-2"), 999_999_999_999)
        cents = [order.total_cents for order in orders]
        with pytest.raises(InvalidOrder):
            make_order(total_amount=Decimal("1234567.891"))

    assert cents == [999_999_999_999, 100_000_000_000, 700]
    assert stored == orders[0]
    assert str(stored.total_amount) == "9999999999.99"


def test_texts_of_a_convenient_type_become_plain() -> None:
    class Sku(StrEnum):
        APPLE = "sku-apple"

    order = make_order(Sku.APPLE, user_id=Sku.APPLE, item_ids=[Sku.APPLE])

    assert {type(text) for text in (order.order_id, order.user_id, *order.item_ids)} == {str}
    assert order == make_order("sku-apple", user_id="sku-apple", item_ids=("sku-apple",))


def test_every_fault_of_an_order_is_named() -> None:
    with pytest.raises(InvalidOrder) as caught:
        Order(order_id="", user_id="a b", item_ids=("sku", "!"), total_amount=Decimal("-1"))

    assert [fault.pointer for fault in caught.value.faults] == ["/order_id", "/user_id", "/item_ids/1", "/total_amount"]
    assert all(fault.pointer in str(caught.value) for fault in caught.value.faults)


def test_missing_and_unknown_fields_are_faults_too() -> None:
    assert find_faults({"order_id": "o-1", "status": "Completed", "a/b~c": 1}) == (
        FieldFault("/status", "unknown field"),
        FieldFault("/a~1b~0c", "unknown field"),
        FieldFault("/user_id", "missing"),
        FieldFault("/item_ids", "missing"),
        FieldFault("/total_amount", "missing"),
    )


def test_sound_fields_have_no_faults() -> None:
    order = make_order()

    assert find_faults({name: value for name in FIELDS if (value := getattr(order, name)) is not None}) == ()


@pytest.mark.parametrize("field", FIELDS)
def test_an_order_never_changes(field: str) -> None:
    order = make_order()

    with pytest.raises(AttributeError):
        setattr(order, field, getattr(order, field))


def test_orders_with_the_same_content_are_equal() -> None:
    order = make_order(total_amount=Decimal("5.00"))

    assert order == make_order(total_amount=Decimal("5"), item_ids=["sku-1", "sku-2"])
    assert hash(order) == hash(make_order(total_amount=5))


@pytest.mark.parametrize(
    "other", [{"user_id": "u-2"}, {"item_ids": ("sku-2", "sku-1")}, {"total_amount": Decimal("19.98")}]
)
def test_orders_with_other_content_are_not_equal(other: dict[str, Any]) -> None:
    assert make_order() != make_order(**other)


def test_an_order_made_by_msgspec_is_checked_too() -> None:
    with pytest.raises(InvalidOrder):
        msgspec.convert({"order_id": "", "user_id": "u", "item_ids": ["i"], "total_amount": "1"}, Order)


def test_an_order_has_one_idempotency_key_of_its_own() -> None:
    assert make_order("o-1").idempotency_key == make_order("o-1", user_id="u-2").idempotency_key
    assert make_order("o-1").idempotency_key != make_order("o-2").idempotency_key


@pytest.mark.parametrize(
    ("cents", "amount", "text"),
    [
        (0, Decimal("0.00"), "0.00"),
        (5, Decimal("0.05"), "0.05"),
        (1999, Decimal("19.99"), "19.99"),
        (999_999_999_999, Decimal("9999999999.99"), "9999999999.99"),
    ],
)
def test_cents_are_shown_with_two_fraction_digits(cents: int, amount: Decimal, text: str) -> None:
    assert str(amount_from_cents(cents)) == str(amount)
    assert format_amount(amount) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(Decimal(20), "20.00"), (Decimal("1e2"), "100.00"), (Decimal("-0.0"), "0.00")]
)
def test_an_amount_is_shown_as_cents_have_it_however_it_was_written(amount: Decimal, text: str) -> None:
    with localcontext(Context(prec=1, traps=[Inexact, Rounded])):
        assert format_amount(amount) == text
