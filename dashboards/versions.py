"""Versions: which version of each schema each instance runs, and whether a version brings errors."""

from __future__ import annotations

from typing import Any

from dashboards.panels import (
    BY_SCHEMA,
    EVERY,
    OWN,
    RANGE,
    RECORDED,
    SCHEMA,
    TARGET,
    WHERE,
    Column,
    above,
    at,
    chosen_ten,
    empty,
    errors,
    failures,
    instant,
    limited,
    limits,
    make_dashboard,
    query,
    ranked_ten,
    recorded,
    stat_panel,
    table_panel,
    timeseries_panel,
)

IN_USE = f"schema_info{{{SCHEMA}}} == 1"
VERSION = "{{schema_name}} {{schema_module}} {{schema_version}}"
BY_VERSION = f"{OWN}, schema_name, schema_module, schema_version"
JOIN = f"on ({OWN}, instance, schema_name, schema_module, schema_library) group_left (schema_version)"
USED = f"count by ({BY_VERSION}) (max_over_time(schema_info{{{SCHEMA}}}[{RANGE}] @ end()) == 1)"
VERSIONS = recorded("schema:schema_versions:count", f'{RECORDED}, schema_name=~"$schema"')

STATES = recorded("migration:schema_db_state:count")
DATABASE = "{{schema_migration_tool}} {{db_namespace}}"
IDENTITY = "deployment_environment_name, service_version, vcs_ref_head_revision"
SIDE_BY_SIDE = (
    f"count by ({OWN}, {IDENTITY}, schema_migration_tool, db_namespace, schema_db_revision, schema_db_state) ("
    f"(schema_db_info{{{TARGET}}} == 1) * on ({OWN}, instance) group_left ({IDENTITY}) "
    f"max by ({OWN}, instance, {IDENTITY}) (target_info{{{TARGET}}}))"
)
BY_MISMATCH = f"{OWN}, schema_mismatch_kind, schema_mismatch_severity"
UNFIT = recorded("schema:schema_mismatches:sum", f'{RECORDED}, schema_name=~"$schema"')
MISMATCHES = recorded("schema:schema_mismatches:max", f'{RECORDED}, schema_name=~"$schema"')


def dashboard() -> Any:
    failed = f"{errors(EVERY, SCHEMA)} * {JOIN} ({IN_USE})"
    grown = errors(RANGE, SCHEMA).replace("rate(", "increase(").replace(f"[{RANGE}]", f"[{RANGE}] @ end()")
    grown = f"sum by ({BY_SCHEMA}) ({grown}) > 0"
    no_version = "No schema with a name was used since the processes started"
    panels = [
        at(
            empty(
                table_panel(
                    "Active Schema Versions",
                    "Each schema that was used, with its version on each instance: the declared version, or the "
                    "fingerprint if none is declared. If one declared version has two fingerprints, the author forgot "
                    "to raise the version.",
                    {
                        "schema_name": ("Schema", ""),
                        "schema_module": ("Module", ""),
                        "schema_version": Column("Version", width=150),
                        "schema_fingerprint": Column("Fingerprint", width=150),
                        "job": Column("Job", width=150),
                        "instance": ("Instance", ""),
                    },
                    instant(
                        f"sum by ({OWN}, schema_name, schema_module, schema_version, schema_fingerprint, instance) "
                        f"({IN_USE})"
                    ),
                ),
                no_version,
            ),
            1, 0, 0, 24, 10,
        ),
        at(
            empty(
                timeseries_panel(
                    "Instances by Version",
                    "How many instances use each version of a schema. During a rolling deployment one line falls while "
                    "the next one rises.",
                    "suffix:instances",
                    query(
                        ranked_ten(f"count by ({BY_VERSION}) ({IN_USE})", BY_VERSION, USED),
                        f"{VERSION} {WHERE}",
                    ),
                ).decimals(0),
                no_version,
            ),
            2, 0, 10, 12, 9,
        ),
        at(
            empty(
                limited(
                    timeseries_panel(
                        "Versions by Schema",
                        "How many versions of a schema are in use at once. The dashed line is the limit of "
                        "SeveralSchemaVersions; during a deployment the number may exceed it.",
                        "suffix:versions",
                        query(chosen_ten(VERSIONS), f"{{{{schema_name}}}} {{{{schema_module}}}} {WHERE}"),
                    ).decimals(0),
                    above("@{schema_versions}"),
                ),
                no_version,
            ),
            3, 12, 10, 12, 9,
        ),
        at(
            empty(
                failures(timeseries_panel(
                    "Errors by Version",
                    "Failed validations per second, by the version that the instance uses. If a version introduced an "
                    "error, only the line of that version rises.",
                    "suffix:errors/s",
                    query(
                        ranked_ten(f"sum by ({BY_VERSION}) ({failed})", BY_SCHEMA, grown),
                        f"{VERSION} {WHERE}",
                    ),
                )),
                "No validation failed in this time",
            ),
            4, 0, 19, 18, 9,
        ),
        at(
            stat_panel(
                "Schemas with Several Versions",
                "Schemas with more than one version in use in one job now.",
                "short",
                query(f"count({VERSIONS} > @{{schema_versions}}) or vector(0)"),
            ).thresholds(limits((None, "green"), (1, "orange"))),
            5, 18, 19, 6, 9,
        ),
        at(
            empty(
                timeseries_panel(
                    "Database State",
                    "How many instances see their database in each state. ahead: the database ran a revision that "
                    "their files do not have, as in a rolling deployment. diverged: there are several heads. unknown: "
                    "the app could not read the revision, or it has no migration files.",
                    "suffix: instances",
                    query(STATES, f"{{{{schema_db_state}}}} {DATABASE} {WHERE}"),
                ),
                "No app has read its database's revision",
            ),
            6, 0, 28, 10, 9,
        ),
        at(
            empty(
                table_panel(
                    "Environments Side by Side",
                    "Release, commit and database revision of each environment, by deployment.environment.name, "
                    "service.version and vcs.ref.head.revision of the apps that report.",
                    {
                        "deployment_environment_name": Column("Environment", width=105),
                        "job": Column("Job", width=95),
                        "service_version": Column("Release", width=80),
                        "vcs_ref_head_revision": Column("Commit", width=85),
                        "schema_migration_tool": Column("Tool", width=80),
                        "db_namespace": Column("Database", width=90),
                        "schema_db_revision": Column("Revision", width=90),
                        "schema_db_state": Column("State", width=85),
                        "Value": Column("Instances", "short", width=85),
                    },
                    instant(SIDE_BY_SIDE),
                ),
                "No app has read its database's revision",
            ),
            7, 10, 28, 14, 9,
        ),
        at(
            empty(
                failures(timeseries_panel(
                    "Mismatch Detection Rate",
                    "Mismatches per hour that one check found and the check before did not. If a deployment brings "
                    "code that no longer fits the database, you see it here.",
                    "suffix: mismatches/h",
                    query(
                        f"sum by ({BY_MISMATCH}) (rate(schema_mismatch_detections_total{{{SCHEMA}}}[{EVERY}])) * 3600",
                        f"{{{{schema_mismatch_severity}}}} {{{{schema_mismatch_kind}}}} {WHERE}",
                    ),
                )),
                "No check has found a mismatch",
            ),
            8, 0, 37, 12, 8,
        ),
        at(
            empty(
                failures(
                    limited(
                        timeseries_panel(
                            "Fields That Do Not Fit",
                            "How many fields of a schema accept values that its table refuses or changes. The "
                            "dashed line is the limit of SchemaMismatch.",
                            "suffix: fields",
                            query(chosen_ten(UNFIT), f"{{{{schema_name}}}} {{{{schema_module}}}} {WHERE}"),
                        ).decimals(0),
                        above("@{mismatches}"),
                    )
                ),
                "No mismatch is known",
            ),
            9, 12, 37, 12, 8,
        ),
        at(
            empty(
                table_panel(
                    "Mismatches",
                    "Schemas that do not fit their tables now. critical: the database stores another value, without an"
                    " error. error: the database refuses what the API accepted. otel-schema check names the fields.",
                    {
                        "schema_name": ("Schema", ""),
                        "schema_module": ("Module", ""),
                        "schema_mismatch_kind": ("Kind", ""),
                        "schema_mismatch_severity": ("Severity", ""),
                        "job": ("Job", ""),
                        "Value": ("Mismatches", "short"),
                    },
                    instant(f"{MISMATCHES} > 0"),
                ),
                "No mismatch is known",
            ),
            10, 0, 45, 24, 8,
        ),
    ]  # fmt: skip
    return make_dashboard(
        "schema-versions",
        "Schema versions",
        "Which version of each schema is live, and where.",
        panels,
        schema_variable=True,
    )
