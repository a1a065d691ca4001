"""Schemas with what the sources say about fields and members."""

from __future__ import annotations

import msgspec

from ordermill.engine import MetricsSnapshot, OrderStatus
from ordermill.http.api.responses import HistoryPayload, TransitionPayload
from ordermill.http.openapi.schemas import attribute_docstrings, components, schema


def test_a_type_with_a_name_is_referred_to() -> None:
    assert schema(TransitionPayload) == {"$ref": "#/components/schemas/TransitionPayload"}
    assert schema(int) == {"type": "integer"}


def test_the_types_inside_of_a_type_are_components_too() -> None:
    assert list(components([HistoryPayload])) == ["HistoryPayload", "OrderStatus", "TransitionPayload"]


def test_the_docstring_of_a_field_is_its_description_under_the_name_that_it_has_on_the_wire() -> None:
    found = components([TransitionPayload])["TransitionPayload"]["properties"]

    assert found["from"]["description"] == "null where the order was accepted."
    assert "source" not in found


def test_fields_of_a_base_class_are_described() -> None:
    found = components([MetricsSnapshot])["MetricsSnapshot"]["properties"]

    assert all(field["description"] for field in found.values())


def test_the_members_of_an_enumeration_are_described_by_their_values() -> None:
    found = components([OrderStatus, TransitionPayload])["OrderStatus"]

    assert found["type"] == "string"
    assert found["description"].count("\n- `Completed`: Done. Nobody moves it on.") == 1


def test_a_class_of_another_package_has_no_docstrings() -> None:
    class Foreign(msgspec.Struct):
        field: int
        """Not ours."""

    assert attribute_docstrings(Foreign) == {}
