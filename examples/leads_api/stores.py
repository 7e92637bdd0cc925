"""What a trace store and a Prometheus are asked for to get from a slow bucket to the trace behind it."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sink import Exemplar, Span, spans_of

IDS = ("traceId", "spanId", "parentSpanId")


@dataclass(frozen=True)
class Jaeger:
    """Jaeger's query API.

    https://www.jaegertracing.io/docs/latest/apis/

    Attributes:
        url: without a path.
    """

    url: str

    def trace(self, trace_id: str) -> list[Span]:
        """Spans of one trace, in order of their start; none if it is not stored.

        Raises:
            OSError: if Jaeger does not answer.
        """
        try:
            answer = _json(f"{self.url}/api/v3/traces/{trace_id}")
        except HTTPError as error:
            if error.code == 404:
                return []
            raise
        # OTLP's JSON writes ids in hexadecimal, protobuf's in base64
        request = ParseDict(_base64_ids(answer["result"]), ExportTraceServiceRequest(), ignore_unknown_fields=True)
        return sorted(map(_with_arrays, spans_of(request)), key=lambda span: (span.start_ns, -span.end_ns))


def exemplars(prometheus: str, series: str) -> list[Exemplar]:
    """The exemplars of the last hour that a Prometheus holds of some series, the greatest value first.

    Args:
        prometheus: its base URL.
        series: PromQL selector.

    Raises:
        OSError: if Prometheus does not answer.
    """
    now = time.time()
    query = urlencode({"query": series, "start": now - 3600, "end": now + 60})
    found = [
        Exemplar(
            value=float(exemplar["value"]),
            trace_id=exemplar["labels"].pop("trace_id", ""),
            span_id=exemplar["labels"].pop("span_id", ""),
            time_ns=int(exemplar["timestamp"] * 1e9),
            filtered_attributes=exemplar["labels"],
        )
        for row in _json(f"{prometheus}/api/v1/query_exemplars?{query}")["data"]
        for exemplar in row["exemplars"]
    ]
    return sorted(found, key=lambda exemplar: -exemplar.value)


def _json(url: str) -> Any:
    with urlopen(url, timeout=10) as answer:
        return json.load(answer)


def _base64_ids(node: Any) -> Any:
    if isinstance(node, list):
        return [_base64_ids(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: b64encode(bytes.fromhex(value)).decode() if key in IDS else _base64_ids(value)
        for key, value in node.items()
    }


def _with_arrays(span: Span) -> Span:
    """Jaeger stores an array attribute as its JSON."""
    arrays = {
        key: json.loads(value)
        for key, value in span.attributes.items()
        if key.startswith("schema.problem.") and isinstance(value, str) and value.startswith("[")
    }
    return replace(span, attributes={**span.attributes, **arrays})
