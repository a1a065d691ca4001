"""Peewee models of the tables that sql/schema.sql creates.

They are bound to no database, since several engines may live in one process: each query is given the database that it
runs on.
"""

from __future__ import annotations

from peewee import AutoField, BlobField, CompositeKey, FloatField, IntegerField, Model, TextField


class OrderModel(Model):
    """A row of `orders`; schema.sql says what each column means."""

    sequence = AutoField()
    order_id = TextField(unique=True)
    user_id = TextField()
    item_ids = TextField()
    total_cents = IntegerField()
    status = TextField()
    attempts = IntegerField()
    failures = IntegerField()
    created_at = IntegerField()
    updated_at = IntegerField()
    ready_at = IntegerField(null=True)
    last_error = TextField(null=True)
    keyed_at = IntegerField(null=True)
    rank = IntegerField(null=True)
    priority = IntegerField()
    not_before = IntegerField(null=True)
    metadata = TextField(null=True)
    serial_key = TextField(null=True)
    queue = TextField(null=True)
    complete_by = IntegerField(null=True)
    parked = TextField(null=True)
    owner = IntegerField(null=True)

    class Meta:
        table_name = "orders"


class TransitionModel(Model):
    """A row of `transitions`."""

    id = AutoField()
    sequence = IntegerField()
    order_id = TextField()
    from_status = TextField(null=True)
    to_status = TextField()
    at = IntegerField()
    attempt = IntegerField()
    reason = TextField()
    request_id = TextField(null=True)
    acted_by = TextField(null=True)

    class Meta:
        table_name = "transitions"


class IdempotencyKeyModel(Model):
    """A row of `idempotency_keys`."""

    id = IntegerField(primary_key=True)
    key = TextField()
    user_id = TextField()
    fingerprint = TextField()
    created_at = IntegerField()

    class Meta:
        table_name = "idempotency_keys"


class EngineModel(Model):
    """A row of `engines`."""

    id = AutoField()
    host = TextField()
    process_id = IntegerField()
    started_at = IntegerField()
    process = TextField(null=True)
    state = TextField(null=True)
    heartbeat_at = IntegerField(null=True)
    lease_until = IntegerField(null=True)
    processors = IntegerField(null=True)

    class Meta:
        table_name = "engines"


class ErrorModel(Model):
    """A row of `errors`."""

    id = AutoField()
    name = TextField(unique=True)
    kind = TextField()

    class Meta:
        table_name = "errors"


class FailureModel(Model):
    """A row of `failures`."""

    sequence = IntegerField(primary_key=True)
    error = IntegerField(column_name="error_id")
    status = TextField()
    at = IntegerField()

    class Meta:
        table_name = "failures"


class ClockStepModel(Model):
    """A row of `clock_steps`."""

    sequence = IntegerField(primary_key=True)

    class Meta:
        table_name = "clock_steps"


class SecretModel(Model):
    """A row of `secrets`."""

    name = TextField(primary_key=True)
    value = BlobField()

    class Meta:
        table_name = "secrets"


class TraceContextModel(Model):
    """A row of `trace_contexts`."""

    sequence = IntegerField(primary_key=True)
    traceparent = TextField()

    class Meta:
        table_name = "trace_contexts"


class FirstScheduleModel(Model):
    """A row of `first_schedules`."""

    sequence = IntegerField(primary_key=True)
    priority = IntegerField()
    not_before = IntegerField(null=True)
    queue = TextField(null=True)
    complete_by = IntegerField(null=True)

    class Meta:
        table_name = "first_schedules"


class BulkActionModel(Model):
    """A row of `bulk_actions`."""

    id = AutoField()
    action = TextField()
    filters = TextField()
    settled = TextField(null=True)
    reason = TextField(null=True)
    request_id = TextField(null=True)
    acted_by = TextField(null=True)
    state = TextField()
    matched = IntegerField()
    moved = IntegerField()
    refused = IntegerField()
    before = IntegerField()
    created_at = IntegerField()
    ended_at = IntegerField(null=True)

    class Meta:
        table_name = "bulk_actions"


class DeadlineModel(Model):
    """A row of `deadlines`."""

    sequence = IntegerField(primary_key=True)
    complete_by = IntegerField()

    class Meta:
        table_name = "deadlines"


class LateOrderModel(Model):
    """A row of `late_orders`."""

    id = IntegerField(primary_key=True)
    sequence = IntegerField(unique=True)
    complete_by = IntegerField()
    at = IntegerField()
    status = TextField()
    attempt = IntegerField()

    class Meta:
        table_name = "late_orders"


class ControlModel(Model):
    """The row of `control`."""

    id = IntegerField(primary_key=True)
    is_paused = IntegerField()
    paused_until = IntegerField(null=True)
    reason = TextField(null=True)
    processors = IntegerField(null=True)
    error = TextField(null=True)

    class Meta:
        table_name = "control"


class QueueModel(Model):
    """A row of `queues`."""

    id = IntegerField(primary_key=True)
    name = TextField(unique=True)
    is_paused = IntegerField()
    concurrency = IntegerField(null=True)
    rate = FloatField(null=True)
    reason = TextField(null=True)
    changed_at = IntegerField(null=True)
    changed_by = TextField(null=True)

    class Meta:
        table_name = "queues"


class LimitModel(Model):
    """A row of `limits`."""

    name = TextField(primary_key=True)
    next_at = IntegerField()
    closed_until = IntegerField(null=True)
    opens_at = IntegerField(null=True)

    class Meta:
        table_name = "limits"


class AuditLogModel(Model):
    """A row of `audit_log`."""

    id = AutoField()
    at = IntegerField()
    action = TextField()
    target = TextField(null=True)
    reason = TextField(null=True)
    orders = IntegerField(null=True)
    request_id = TextField(null=True)
    acted_by = TextField(null=True)

    class Meta:
        table_name = "audit_log"


class OutlookModel(Model):
    """A row of `outlooks`."""

    sequence = IntegerField(primary_key=True)
    given_at = IntegerField()
    model_from = IntegerField()
    model_to = IntegerField()
    expected_from = IntegerField()
    expected_to = IntegerField()
    ended_at = IntegerField(null=True)
    is_kept = IntegerField(null=True)

    class Meta:
        table_name = "outlooks"


class TotalModel(Model):
    """A row of `totals`."""

    name = TextField()
    part = IntegerField()
    value = IntegerField()

    class Meta:
        primary_key = CompositeKey("name", "part")
        table_name = "totals"


class WebhookModel(Model):
    """A row of `webhooks`."""

    id = AutoField()
    webhook_id = TextField(unique=True)
    url = TextField()
    events = TextField()
    description = TextField(null=True)
    secret = TextField()
    old_secret = TextField(null=True)
    old_secret_until = IntegerField(null=True)
    created_at = IntegerField()
    disabled_at = IntegerField(null=True)
    disabled_reason = TextField(null=True)
    deleted_at = IntegerField(null=True)

    class Meta:
        table_name = "webhooks"


class OutboxModel(Model):
    """A row of `outbox`."""

    id = AutoField()
    event_id = TextField()
    sequence = IntegerField()
    number = IntegerField()
    order_id = TextField(null=True)
    type = TextField()
    at = IntegerField()
    subject = TextField()

    class Meta:
        table_name = "outbox"


class DeliveryModel(Model):
    """A row of `deliveries`."""

    id = AutoField()
    webhook = IntegerField()
    event = IntegerField()
    sequence = IntegerField()
    attempts = IntegerField()
    created_at = IntegerField()
    due_at = IntegerField(null=True)
    ended_at = IntegerField(null=True)
    is_delivered = IntegerField()

    class Meta:
        table_name = "deliveries"


class DeliveryAttemptModel(Model):
    """A row of `delivery_attempts`."""

    id = IntegerField(primary_key=True)
    delivery = IntegerField()
    number = IntegerField()
    at = IntegerField()
    status = IntegerField(null=True)
    error = TextField(null=True)
    answer = TextField(null=True)
    latency = IntegerField()

    class Meta:
        table_name = "delivery_attempts"
