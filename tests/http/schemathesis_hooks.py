"""What schemathesis has to be told about the API: how NDJSON, which is a string to it, goes over the wire."""

from __future__ import annotations

import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
