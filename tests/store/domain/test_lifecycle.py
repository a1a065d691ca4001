"""The statuses and the legal edges between them, as the contract has them."""

from __future__ import annotations

from ordermill.store.domain.lifecycle import BACKLOG, EDGES, OrderStatus


def test_the_statuses_are_spelled_as_in_the_contract() -> None:
    assert [str(status) for status in OrderStatus] == [
        "Pending",
        "Processing",
        "Completed",
        "Failed",
        "Cancelled",
        "Review",
    ]


def test_processing_is_over_where_an_order_is_completed_failed_or_cancelled() -> None:
    assert {status.value for status in OrderStatus if status.is_terminal} == {"Completed", "Failed", "Cancelled"}


def test_the_backlog_is_what_is_pending_or_processing() -> None:
    assert {status.value for status in BACKLOG} == {"Pending", "Processing"}


def test_the_legal_edges_are_those_of_the_contract() -> None:
    assert sorted((str(edge.source), str(edge.target)) for edge in EDGES) == [
        ("Failed", "Pending"),
        ("None", "Pending"),
        ("Pending", "Cancelled"),
        ("Pending", "Pending"),
        ("Pending", "Pending"),
        ("Pending", "Processing"),
        ("Processing", "Completed"),
        ("Processing", "Failed"),
        ("Processing", "Pending"),
        ("Processing", "Review"),
        ("Review", "Completed"),
        ("Review", "Failed"),
        ("Review", "Pending"),
    ]


def test_each_edge_says_who_and_why() -> None:
    assert all(edge.mover and edge.why for edge in EDGES)


def test_every_status_can_be_reached_and_only_final_ones_have_no_way_out() -> None:
    assert {edge.target for edge in EDGES} == set(OrderStatus)
    assert set(OrderStatus) - {edge.source for edge in EDGES} == {OrderStatus.COMPLETED, OrderStatus.CANCELLED}
