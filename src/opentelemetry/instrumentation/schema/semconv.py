"""Every name, unit, description and bucket that leaves this package, once.

README, dashboards, rules and collector configs are compared with this file by a test. Attributes outside `schema.` are
those of the OpenTelemetry semantic conventions, with their values:
https://opentelemetry.io/docs/specs/semconv/.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE as ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import HTTP_REQUEST_METHOD as HTTP_REQUEST_METHOD
from opentelemetry.semconv.attributes.http_attributes import HTTP_ROUTE as HTTP_ROUTE

SCOPE: Final = "opentelemetry.instrumentation.schema"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.30.0"

# -- attributes
SCHEMA_NAME: Final = "schema.name"
SCHEMA_MODULE: Final = "schema.module"
SCHEMA_LIBRARY: Final = "schema.library"
SCHEMA_VERSION: Final = "schema.version"
SCHEMA_FINGERPRINT: Final = "schema.fingerprint"
SCHEMA_ENDPOINT: Final = "schema.endpoint"
VALIDATION_OUTCOME: Final = "schema.validation.outcome"
PROBLEM_PATH: Final = "schema.problem.path"
PROBLEM_RULE: Final = "schema.problem.rule"
CACHE_NAME: Final = "schema.cache.name"
DISTRIBUTION: Final = "schema.distribution"
QUERY_RELATION: Final = "schema.query.relation"
TELEMETRY_COMPONENT: Final = "schema.telemetry.component"
TELEMETRY_INSTRUMENT: Final = "schema.telemetry.instrument"
OVERFLOW: Final = "otel.metric.overflow"

# Stable since semantic conventions 1.30; the package exports them from a module that 0.51b0 lacks.
DB_SYSTEM_NAME: Final = "db.system.name"
DB_OPERATION_NAME: Final = "db.operation.name"
DB_NAMESPACE: Final = "db.namespace"

MIGRATION_TOOL: Final = "schema.migration.tool"
DB_REVISION: Final = "schema.db.revision"
DB_STATE: Final = "schema.db.state"
MIGRATION_DIRECTION: Final = "schema.migration.direction"
MIGRATION_OUTCOME: Final = "schema.migration.outcome"
MISMATCH_KIND: Final = "schema.mismatch.kind"
MISMATCH_SEVERITY: Final = "schema.mismatch.severity"
GUARD_VERDICT: Final = "schema.guard.verdict"
GUARD_SIGNAL: Final = "schema.guard.signal"

# -- span attributes
PROBLEM_COUNT: Final = "schema.problem.count"
QUERY_COUNT: Final = "schema.query.count"
VALIDATION_COUNT: Final = "schema.validation.count"
VALIDATION_SECONDS: Final = "schema.validation.duration"
SPAN_NAME: Final = "schema.validate"
MIGRATION_SPAN_NAME: Final = "schema.migrate"
MIGRATION_STEP_SPAN_NAME: Final = "schema.migrate.step"
GUARD_SPAN_NAME: Final = "schema.guard"
MIGRATION_REVISION: Final = "schema.migration.revision"
MIGRATION_OFFLINE: Final = "schema.migration.offline"
# In development: https://opentelemetry.io/docs/specs/semconv/registry/attributes/vcs/ and …/cicd/; the last is stable.
VCS_REVISION: Final = "vcs.ref.head.revision"
PIPELINE_RUN_ID: Final = "cicd.pipeline.run.id"
DB_STATUS_CODE: Final = "db.response.status_code"

# -- values
Outcome = Literal["valid", "invalid", "error"]
Relation = Literal["during", "after"]
Direction = Literal["upgrade", "downgrade"]
MigrationOutcome = Literal["applied", "rolled_back", "partial", "failed"]
"""What the database holds after a run, whatever the run said of itself.

`applied`: an upgrade reached its target. `rolled_back`: the database is at an earlier revision again, since a downgrade
reached its target or an upgrade that failed was undone. `partial`: the run failed, and left the database somewhere
between. `failed`: the run failed, and the database is as it was.
"""
Verdict = Literal["pass", "degraded", "inconclusive"]
Signal = Literal["errors", "time", "queries"]
VALIDATION_ERROR: Final = "ValidationError"
VALIDATOR_CACHE: Final = "validator"
OTHER_METHOD: Final = "_OTHER"
CUSTOM_RULE: Final = "custom"

VALIDATION_BUCKETS: Final[tuple[float, ...]] = (
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
QUERY_BUCKETS: Final[tuple[float, ...]] = (
    1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip


class Instrument(NamedTuple):
    """One row of the table of instruments.

    Attributes:
        name: The instrument's name.
        kind: `histogram`, `counter` or `gauge`.
        unit: UCUM unit.
        description: What it measures, as exported.
        attributes: Every attribute key that its points may carry.
        buckets: Explicit boundaries of a histogram, in its unit.
    """

    name: str
    kind: Literal["histogram", "counter", "gauge"]
    unit: str
    description: str
    attributes: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def prometheus(self) -> str:
        """The metric family's name in Prometheus, with unit and `_total`, without `_bucket`, `_sum` or `_count`.

        https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
        """
        name = self.name.replace(".", "_") + ("_seconds" if self.unit == "s" else "")
        return f"{name}_total" if self.kind == "counter" else name


SCHEMA: Final = (SCHEMA_NAME, SCHEMA_MODULE, SCHEMA_LIBRARY)
"""Which schema."""

ENDPOINT: Final = (HTTP_REQUEST_METHOD, HTTP_ROUTE, SCHEMA_ENDPOINT)
"""Which endpoint: the first two in a web request, the last in an `endpoint()` block, nothing elsewhere."""

VALIDATION_DURATION: Final = Instrument(
    "schema.validation.duration",
    "histogram",
    "s",
    "Duration of outermost validations.",
    (*SCHEMA, VALIDATION_OUTCOME, *ENDPOINT),
    VALIDATION_BUCKETS,
)
VALIDATION_ERRORS: Final = Instrument(
    "validation.errors",
    "counter",
    "{error}",
    "Failed validations inside requests and endpoint() blocks.",
    (*SCHEMA, ERROR_TYPE, *ENDPOINT),
)
VALIDATION_PROBLEMS: Final = Instrument(
    "schema.validation.problems",
    "counter",
    "{problem}",
    "Fields that broke a rule of their schema.",
    (*SCHEMA, PROBLEM_PATH, PROBLEM_RULE),
)
API_REQUESTS: Final = Instrument(
    "api.requests", "counter", "{request}", "Requests handled and endpoint() blocks run.", ENDPOINT
)
CACHE_HITS: Final = Instrument(
    "cache.hits", "counter", "{hit}", "Look-ups that a cache answered.", (CACHE_NAME, *SCHEMA)
)
CACHE_MISSES: Final = Instrument(
    "cache.misses", "counter", "{miss}", "Look-ups that a cache could not answer.", (CACHE_NAME, *SCHEMA)
)
QUERY_DURATION: Final = Instrument(
    "schema.query.duration",
    "histogram",
    "s",
    "Duration of database queries linked to a schema.",
    (*SCHEMA, QUERY_RELATION, DB_SYSTEM_NAME, DB_OPERATION_NAME),
    QUERY_BUCKETS,
)
QUERY_CACHE_HITS: Final = Instrument(
    "schema.query.cache.hits",
    "counter",
    "{hit}",
    "Statements found in SQLAlchemy's compiled cache.",
    (DB_SYSTEM_NAME,),
)
QUERY_CACHE_MISSES: Final = Instrument(
    "schema.query.cache.misses",
    "counter",
    "{miss}",
    "Cacheable statements that SQLAlchemy compiled.",
    (DB_SYSTEM_NAME,),
)
SCHEMA_INFO: Final = Instrument(
    "schema.info",
    "gauge",
    "",
    "1 for each version of a schema that is in use, 0 for one that no longer is.",
    (*SCHEMA, SCHEMA_VERSION, SCHEMA_FINGERPRINT),
)
DB_INFO: Final = Instrument(
    "schema.db.info",
    "gauge",
    "",
    "1 for the revision that a database has and how that fits the migration files, 0 for what no longer is so.",
    (MIGRATION_TOOL, DB_NAMESPACE, DB_REVISION, DB_STATE),
)
_MIGRATION_RUN: Final = (MIGRATION_TOOL, DB_NAMESPACE, MIGRATION_DIRECTION, MIGRATION_OUTCOME)
MIGRATION_TIMESTAMP: Final = Instrument(
    "schema.migration.last_run.timestamp",
    "gauge",
    "s",
    "When the last run of a migration tool with this outcome ended, in Unix time.",
    _MIGRATION_RUN,
)
MIGRATION_DURATION: Final = Instrument(
    "schema.migration.last_run.duration",
    "gauge",
    "s",
    "Duration of the last run of a migration tool with this outcome.",
    _MIGRATION_RUN,
)
MIGRATION_PENDING: Final = Instrument(
    "schema.migration.pending",
    "gauge",
    "{migration}",
    "Migrations that the application's files hold and its database does not.",
    (MIGRATION_TOOL, DB_NAMESPACE),
)
MISMATCHES: Final = Instrument(
    "schema.mismatches",
    "gauge",
    "{mismatch}",
    "Mismatches between schemas and the tables that hold their data.",
    (*SCHEMA, MISMATCH_KIND, MISMATCH_SEVERITY),
)
MISMATCH_DETECTIONS: Final = Instrument(
    "schema.mismatch.detections",
    "counter",
    "{mismatch}",
    "Mismatches that a check found and the check before did not.",
    (*SCHEMA, MISMATCH_KIND, MISMATCH_SEVERITY),
)
GUARD_TIMESTAMP: Final = Instrument(
    "schema.guard.last_verdict.timestamp",
    "gauge",
    "s",
    "When the guard last judged a migration so, in Unix time.",
    (MIGRATION_TOOL, DB_NAMESPACE, GUARD_VERDICT, GUARD_SIGNAL),
)
LEFT_OUT: Final = Instrument(
    "schema.left_out",
    "gauge",
    "{schema}",
    "Schemas that are not observed, because their distribution is third-party.",
    (DISTRIBUTION,),
)
TELEMETRY_ERRORS: Final = Instrument(
    "schema.telemetry.errors",
    "counter",
    "{error}",
    "Internal errors of this instrumentation, kept from the application.",
    (TELEMETRY_COMPONENT, ERROR_TYPE),
)
TELEMETRY_DROPPED: Final = Instrument(
    "schema.telemetry.dropped",
    "counter",
    "{measurement}",
    "Measurements without an attribute set or span of their own, past a limit.",
    (TELEMETRY_INSTRUMENT,),
)

INSTRUMENTS: Final = (  # folded in this order: durations add to the hits, what is dropped is known last
    VALIDATION_DURATION,
    VALIDATION_ERRORS,
    VALIDATION_PROBLEMS,
    API_REQUESTS,
    CACHE_HITS,
    CACHE_MISSES,
    QUERY_DURATION,
    QUERY_CACHE_HITS,
    QUERY_CACHE_MISSES,
    SCHEMA_INFO,
    DB_INFO,
    MIGRATION_TIMESTAMP,
    MIGRATION_DURATION,
    MIGRATION_PENDING,
    MISMATCHES,
    MISMATCH_DETECTIONS,
    GUARD_TIMESTAMP,
    LEFT_OUT,
    TELEMETRY_ERRORS,
    TELEMETRY_DROPPED,
)

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})


def http_method(method: str) -> str:
    """The value of `http.request.method`: a known method, else `_OTHER`."""
    return method if method in _METHODS else OTHER_METHOD


# What `db.system.name` calls the dialects that name themselves otherwise.
_SYSTEMS = {
    "mssql": "microsoft.sql_server",
    "oracle": "oracle.db",
    "db2": "ibm.db2",
    "ibm_db_sa": "ibm.db2",
    "informix": "ibm.informix",
    "netezza": "ibm.netezza",
    "hana": "sap.hana",
    "redshift": "aws.redshift",
    "spanner": "gcp.spanner",
    "spanner+spanner": "gcp.spanner",
    "firebird": "firebirdsql",
    "teradatasql": "teradata",
}


def db_system(dialect: str, mariadb: bool = False) -> str:
    """`db.system.name`: https://opentelemetry.io/docs/specs/semconv/registry/attributes/db/.

    Args:
        dialect: SQLAlchemy's name of it.
        mariadb: Whether the server is a MariaDB, which it may be behind a `mysql://` URL.
    """
    return "mariadb" if mariadb else _SYSTEMS.get(dialect, dialect)
