"""The models say what the schema says."""

from __future__ import annotations

from typing import Any

import pytest
from peewee import Model, SqliteDatabase

from ordermill.store.statements import run
from ordermill.store.tables import (
    AuditLogModel,
    BulkActionModel,
    ClockStepModel,
    ControlModel,
    DeadlineModel,
    DeliveryAttemptModel,
    DeliveryModel,
    EngineModel,
    ErrorModel,
    FailureModel,
    FirstScheduleModel,
    IdempotencyKeyModel,
    LateOrderModel,
    LimitModel,
    OrderModel,
    OutboxModel,
    OutlookModel,
    QueueModel,
    SecretModel,
    TotalModel,
    TraceContextModel,
    TransitionModel,
    WebhookModel,
)

MODELS: list[Any] = [
    DeliveryAttemptModel,
    DeliveryModel,
    OutboxModel,
    OutlookModel,
    WebhookModel,
    TraceContextModel,
    AuditLogModel,
    BulkActionModel,
    ClockStepModel,
    ControlModel,
    DeadlineModel,
    EngineModel,
    ErrorModel,
    FailureModel,
    FirstScheduleModel,
    IdempotencyKeyModel,
    LateOrderModel,
    LimitModel,
    OrderModel,
    QueueModel,
    SecretModel,
    TransitionModel,
    TotalModel,
]


_KINDS = {"AUTO": "INT", "FLOAT": "REAL"}


def columns_of(model: type[Model]) -> list[tuple[str, str, bool, bool]]:
    meta: Any = model
    return [
        (field.column_name, _KINDS.get(field.field_type, field.field_type), not field.null, field.primary_key)
        for field in meta._meta.sorted_fields
    ]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_has_the_columns_of_its_table(writer: SqliteDatabase, model: Any) -> None:
    rows = run(writer, f"PRAGMA table_info({model._meta.table_name})").fetchall()

    # The schema leaves NOT NULL to a primary key of its own accord.
    assert columns_of(model) == [
        (name, "INT" if kind == "INTEGER" else kind, bool(not_null or key), bool(key))
        for _, name, kind, not_null, _, key in rows
    ]


def test_every_table_has_a_model(writer: SqliteDatabase) -> None:
    own = {name for name in writer.get_tables() if not name.startswith("sqlite_")}

    assert own == {model._meta.table_name for model in MODELS}


@pytest.mark.parametrize("model", MODELS)
def test_a_unique_column_is_unique_in_both(writer: SqliteDatabase, model: Any) -> None:
    indexes = writer.get_indexes(model._meta.table_name)
    unique = {index.columns[0] for index in indexes if index.unique and len(index.columns) == 1}
    unique -= {model._meta.primary_key.column_name}

    assert unique == {field.column_name for field in model._meta.sorted_fields if field.unique}
