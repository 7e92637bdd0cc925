"""Migrations: what is pending, what the last runs left, and which revision each database has."""

from __future__ import annotations

from typing import Any

from dashboards.panels import (
    EVERY,
    OWN,
    TARGET,
    WHERE,
    Column,
    above,
    at,
    empty,
    instant,
    limited,
    limits,
    make_dashboard,
    query,
    recorded,
    stat_panel,
    table_panel,
    timeseries_panel,
)

DATABASE = "schema_migration_tool, db_namespace"
LEGEND = "{{schema_migration_tool}} {{db_namespace}}"
TIMESTAMP = "migration:schema_migration_last_run_timestamp_seconds:last"
NO_RUN = "No run of a migration tool was recorded in this time"
TOOL_COLUMNS = {"schema_migration_tool": ("Tool", ""), "db_namespace": ("Database", "")}
NARROW = {"schema_migration_tool": Column("Tool", width=80), "db_namespace": Column("Database", width=95)}


def _p95(metric: str) -> str:
    # without traffic it is not a number, which is not greater than 0
    return f"histogram_quantile(0.95, sum by ({OWN}, le) (rate({metric}_bucket{{{TARGET}}}[{EVERY}]@OFFSET))) >= 0"


COMPARED = (
    (
        "Errors per Request, Before and After",
        "Failed validations divided by requests.",
        "percentunit",
        f'sum by ({OWN}) (rate(validation_errors_total{{schema_name!="", {TARGET}}}[{EVERY}]@OFFSET)) '
        f"/ (sum by ({OWN}) ("
        f'rate(api_requests_total{{http_request_method!="", {TARGET}}}[{EVERY}]@OFFSET)'
        f' or rate(api_requests_total{{schema_endpoint!="", {TARGET}}}[{EVERY}]@OFFSET)) > 0)',
        "No request in this time",
        7,
        0,
    ),
    (
        "Validation p95, Before and After",
        "95 % of the validations were faster.",
        "s",
        _p95("schema_validation_duration_seconds"),
        "No validation in this time",
        8,
        8,
    ),
    (
        "Linked Queries p95, Before and After",
        "95 % of the queries linked to a schema were faster.",
        "s",
        _p95("schema_query_duration_seconds"),
        "No linked query in this time",
        9,
        16,
    ),
)
"""What the guard judges, as panels: title, description, unit, expression, what to say without data, id, column."""


def _failed(outcome: str) -> str:
    """As the alerts have it: later than the last run that was applied or rolled back."""
    last, good = (
        recorded(TIMESTAMP, f'job=~"$job", {matcher}@{{own:filters}}@{{selector:more}}')
        for matcher in (
            f'schema_migration_outcome="{outcome}"',
            'schema_migration_outcome=~"applied|rolled_back"',
        )
    )
    by = f"max by ({OWN}, {DATABASE})"
    return f"({by} ({last}) > ({by} ({good}) or 0 * {by} ({last})))"


def dashboard() -> Any:
    panels = [
        at(
            empty(
                limited(
                    timeseries_panel(
                        "Pending Migrations",
                        "Migrations that the app's files have and its database does not. The dashed line is the limit "
                        "of MigrationsPending. During a deployment the number exceeds it for a while.",
                        "short",
                        query(recorded("migration:schema_migration_pending:max"), f"{LEGEND} {WHERE}"),
                    ),
                    above("@{pending}"),
                ),
                "No app has read its database's revision, or it has no migration files",
            ),
            1, 0, 0, 16, 9,
        ),
        at(
            stat_panel(
                "Databases with a Failed Migration",
                "Databases whose last run failed or stopped half-way. For these, MigrationFailed or MigrationPartial "
                "fires.",
                "short",
                query(f"count({_failed('failed')} or {_failed('partial')}) or vector(0)"),
            ).thresholds(limits((None, "green"), (1, "red"))),
            3, 16, 0, 8, 9,
        ),
        at(
            empty(
                table_panel(
                    "Last Runs",
                    "The last run with each outcome, and how long it took. applied: an upgrade reached its target. "
                    "rolled_back: a downgrade reached its target. partial: the run failed, and a part of it stayed in "
                    "the database. failed: the run failed, and changed nothing.",
                    {
                        **TOOL_COLUMNS,
                        "schema_migration_direction": ("Direction", ""),
                        "schema_migration_outcome": ("Outcome", ""),
                        "Value #A": ("Ended", "dateTimeAsIso"),
                        "Value #B": ("Duration", "s"),
                        "job": ("Job", ""),
                    },
                    instant(f"{recorded(TIMESTAMP)} * 1000", "A"),
                    instant(recorded("migration:schema_migration_last_run_duration_seconds:last"), "B"),
                ),
                NO_RUN,
            ),
            2, 0, 9, 24, 9,
        ),
        at(
            empty(
                table_panel(
                    "Database Revisions",
                    "The revision that each instance reads from its database, and whether the app's files match it.",
                    {
                        **NARROW,
                        "schema_db_revision": Column("Revision", width=110),
                        "schema_db_state": Column("State", width=80),
                        "job": Column("Job", width=95),
                        "instance": ("Instance", ""),
                    },
                    instant(
                        f"sum by ({OWN}, instance, {DATABASE}, schema_db_revision, schema_db_state) "
                        f"(schema_db_info{{{TARGET}}} == 1)"
                    ),
                ),
                "No app has read its database's revision",
            ),
            4, 0, 18, 12, 9,
        ),
        at(
            empty(
                table_panel(
                    "Last Verdicts of the Guard",
                    "When the guard last gave each verdict on a migration, for each signal.",
                    {
                        **NARROW,
                        "schema_guard_signal": Column("Signal", width=80),
                        "schema_guard_verdict": Column("Verdict", width=100),
                        "Value": Column("Judged", "dateTimeAsIso", width=170),
                        "job": ("Job", ""),
                    },
                    instant(f"{recorded('migration:schema_guard_last_verdict_timestamp_seconds:last')} * 1000"),
                ),
                "The guard judged no migration in this time",
            ),
            5, 12, 18, 12, 9,
        ),
        at(
            empty(
                timeseries_panel(
                    "Duration of the Last Run",
                    "How long the last run took, by outcome. If a step takes longer as the data grow, you see it "
                    "here first.",
                    "s",
                    query(
                        recorded("migration:schema_migration_last_run_duration_seconds:last"),
                        f"{LEGEND} {{{{schema_migration_direction}}}} {{{{schema_migration_outcome}}}} {WHERE}",
                    ),
                ),
                NO_RUN,
            ),
            6, 0, 27, 24, 8,
        ),
        *(
            at(
                empty(
                    timeseries_panel(
                        title,
                        f"{what} Now, and one hour before. If a migration changed something, the two lines separate "
                        "to the right of its mark.",
                        unit,
                        query(expression.replace("@OFFSET", ""), f"now {WHERE}"),
                        query(expression.replace("@OFFSET", " offset 1h"), f"an hour before {WHERE}", "B"),
                    ),
                    nothing,
                ),
                identity, x, 35, 8, 9,
            )
            for title, what, unit, expression, nothing, identity, x in COMPARED
        ),
    ]  # fmt: skip
    about = "Which migrations ran, failed or are pending, and where."
    return make_dashboard("schema-migrations", "Schema migrations", about, panels)
