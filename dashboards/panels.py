"""What every panel and dashboard here has in common; a dashboard's file says only what is its own.

Limits are marks, `@{error_ratio}`, which `otel-schema export` replaces: a panel's threshold is the alert's. So are the
selector, the own labels and the prefix of what rules record. What an alert compares is recorded; its panel shows that.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

with warnings.catch_warnings():
    # dashboard v2 cannot be provisioned from a file, so the classic model is the one to build
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, table, text, timeseries
    from grafana_foundation_sdk.builders import dashboard as builders
    from grafana_foundation_sdk.models import common as kinds
    from grafana_foundation_sdk.models import dashboard as models

    # the panels' types, as the dashboards write them
    from grafana_foundation_sdk.models import heatmap as heatmaps

Panel = Any
"""A panel builder of the SDK, of whatever type: they share no base class."""

TAG = "@{prefix}schema"
DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
OWN = "@{own}"
BY_SCHEMA = f"{OWN}, schema_name, schema_module"
WHERE = "@{own:legend}"
"""Own labels in a legend."""
RECORDED = 'job=~"$job"@{own:filters}@{selector:more}'
"""Of what rules record: it has no instance."""
TARGET = 'job=~"$job", instance=~"$instance"@{own:filters}@{selector:more}'
SCHEMA = f'{TARGET}, schema_name=~"$schema"'
OURS = "schema_validation_duration_seconds_count|schema_left_out|schema_telemetry_errors_total"
"""Series that nobody else has: they say which jobs there are."""
APP_ALERTS = (
    "HighValidationErrorRate", "HighValidationTime", "LowCacheHitRate", "HighEndpointErrorRate", "CrashedValidators",
    "ValidationBudgetBurn", "SlowLinkedQueries", "ValidatorBuiltPerCall", "SeveralSchemaVersions",
)  # fmt: skip
TELEMETRY_ALERTS = ("SchemaTelemetryMissing", "SchemaTelemetryAbsent", "MeasurementsDropped", "SchemaTelemetryErrors")
COLLECTOR_ALERTS = ("CollectorQueueFilling", "CollectorExportFailing", "CollectorRefusing", "CollectorDown")
EVERY = "$__rate_interval"


def recorded(name: str, matchers: str = RECORDED) -> str:
    """What a rule records, as the variables choose it."""
    return f"@{{prefix:recorded}}{name}{{{matchers}}}"


def requests(window: str = EVERY, matchers: str = TARGET) -> str:
    """Requests a second. A request that matched no route has a method; an endpoint() block has neither."""
    rates = (
        f'rate(api_requests_total{{{label}!="", {matchers}}}[{window}])'
        for label in ("http_request_method", "schema_endpoint")
    )
    return f"({' or '.join(rates)})"


def errors(window: str = EVERY, matchers: str = TARGET) -> str:
    return f'rate(validation_errors_total{{schema_name!="", {matchers}}}[{window}])'


def query(expr: str, legend: str = "__auto", ref: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().datasource(DATASOURCE).expr(expr).legend_format(legend).ref_id(ref).range()


def with_exemplars(target: prometheus.Dataquery) -> prometheus.Dataquery:
    return target.exemplar(True)


def instant(expr: str, ref: str = "A") -> prometheus.Dataquery:
    target = prometheus.Dataquery().datasource(DATASOURCE).expr(expr).ref_id(ref).instant()
    return target.format(_table_format())


def _table_format() -> Any:
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    return PromQueryFormat.TABLE


def limits(*steps: tuple[str | float | None, str]) -> builders.ThresholdsConfig:
    """Thresholds from the lowest up; the first has no value. A mark stands for a number."""
    made = [models.Threshold(value=value, color=color) for value, color in steps]  # type: ignore[arg-type]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


GREEN = limits((None, "green"))


def above(limit: str) -> builders.ThresholdsConfig:
    return limits((None, "green"), (limit, "red"))


def below(limit: str) -> builders.ThresholdsConfig:
    return limits((None, "red"), (limit, "green"))


def series(
    title: str, description: str, unit: str, *targets: prometheus.Dataquery, worst: str = "highest"
) -> timeseries.Panel:
    """Lines over time with a legend that names the last and the highest value, the worst first."""
    legend = (
        common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.TABLE).placement(kinds.LegendPlacement.BOTTOM)
    )
    legend = legend.calcs(["lastNotNull", "max"]).show_legend(True)
    legend = legend.sort_by("Max" if worst == "highest" else "Last *").sort_desc(worst == "highest")
    tooltip = common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING)
    panel = timeseries.Panel().title(title).description(description).unit(unit).legend(legend).tooltip(tooltip)
    panel = panel.min(0).line_width(1).fill_opacity(0).show_points(kinds.VisibilityMode.AUTO).thresholds(GREEN)
    return _fed(panel, targets)


def limited(panel: timeseries.Panel, limit: builders.ThresholdsConfig) -> timeseries.Panel:
    """A dashed line at the limit."""
    style = common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(limit).thresholds_style(style)


def figure(title: str, description: str, unit: str, target: prometheus.Dataquery) -> stat.Panel:
    """One number, with its course behind it."""
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"])
    panel = stat.Panel().title(title).description(description).unit(unit).reduce_options(reduce)
    panel = panel.graph_mode(kinds.BigValueGraphMode.AREA).color_mode(kinds.BigValueColorMode.VALUE).thresholds(GREEN)
    return _fed(panel, [target])


def rows(
    title: str, description: str, columns: dict[str, tuple[str, str]], *targets: prometheus.Dataquery
) -> table.Panel:
    """A table of instant queries joined by their labels.

    Args:
        title: of the panel.
        description: of the panel.
        columns: field (`Value #A`, or a label) → (heading, unit), in order; all others are hidden.
        targets: instant queries.
    """
    panel = table.Panel().title(title).description(description).thresholds(GREEN)
    panel = panel.cell_options(kinds.TableAutoCellOptions())
    hidden = {name: True for name in HIDDEN if name not in columns}
    panel = panel.transformations(
        [
            models.DataTransformerConfig(id_val="merge", options={}),
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": hidden,
                    "indexByName": {name: number for number, name in enumerate(columns)},
                    "renameByName": {name: heading for name, (heading, _) in columns.items()},
                },
            ),
        ]
    )
    for heading, unit in columns.values():
        if unit:
            panel = panel.override_by_name(heading, [models.DynamicConfigValue(id_val="unit", value=unit)])
        elif heading in WIDE:
            panel = panel.override_by_name(heading, [models.DynamicConfigValue(id_val="custom.width", value=220)])
        elif (
            heading == "Job"
        ):  # an alert over all jobs has none; the panel's own text for "no data" must not stand there
            panel = panel.override_by_name(heading, [models.DynamicConfigValue(id_val="noValue", value="all")])
    return _fed(panel, targets)


WIDE = ("Alert", "Route")
HIDDEN = ("Time", "__name__", "job", "instance", "alertstate", "schema_library", "runbook_url")


def heat(title: str, description: str, unit: str, target: prometheus.Dataquery) -> heatmap.Panel:
    """A histogram over time. The query is a sum by le in the heat map's own format."""
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    panel = heatmap.Panel().title(title).description(description).thresholds(GREEN).calculate(False)
    panel = panel.y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(kinds.AxisPlacement.LEFT))
    panel = panel.color(
        heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    )
    panel = panel.exemplars_color("rgba(255,0,255,0.7)").unit("reqps")
    return _fed(panel, [target.format(PromQueryFormat.HEATMAP)])


def prose(title: str, description: str, content: str) -> text.Panel:
    return text.Panel().title(title).description(description).mode(_markdown()).content(content)


def _markdown() -> Any:
    from grafana_foundation_sdk.models.text import TextMode

    return TextMode.MARKDOWN


def link(title: str, url: str) -> builders.DashboardLink:
    return builders.DashboardLink(title).url(url).target_blank(True)


def mapped(panel: Panel, texts: dict[str, str]) -> Panel:
    """Words for numbers."""
    options = {value: models.ValueMappingResult(text=text) for value, text in texts.items()}
    return panel.mappings([models.ValueMap(options=options)])


def empty(panel: Panel, why: str) -> Panel:
    """Says why there may be nothing to show."""
    return panel.no_value(why)


def placed(panel: Panel, identity: int, x: int, y: int, w: int, h: int) -> Panel:
    """A panel in its place, with the number that links name it by."""
    return panel.id(identity).grid_pos(models.GridPos(h=h, w=w, x=x, y=y))


def page(uid: str, title: str, description: str, panels: Sequence[Panel], schema_variable: bool = False) -> Any:
    """A dashboard: its variables, the way to its sisters, and panels that are `placed`."""
    board = (
        builders.Dashboard(f"{title}@{{prefix:title}}")
        .uid(f"@{{prefix}}{uid}")
        .description(description)
        .tags([TAG])
        .editable()
    )
    board = board.time("now-1h", "now").refresh("30s").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    board = board.link(
        builders.DashboardLink("Schema dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .keep_time(True)
        .include_vars(True)
    )
    for variable in _variables(schema_variable):
        board = board.with_variable(variable)
    for panel in panels:
        board = board.with_panel(panel)
    return board.build()


def _variables(with_schema: bool) -> list[Any]:
    source = builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    found = [source]
    ours = f'{{__name__=~"{OURS}"@{{selector:more}}}}'
    environments = "label_values(target_info@{selector:only}, deployment_environment_name)"
    target = 'job=~"$job", deployment_environment_name=~"$resource_environment"@{own:filters}@{selector:more}'
    asked = [
        # stands once for each own label beside job
        ("@{label}", "@{label}", f"label_values({ours}, @{{label}})", ".*"),
        # an app without the attribute must stay visible, hence .* and not .+
        (
            "resource_environment",
            "Environment",
            environments,
            ".*",
        ),
        ("job", "Job", f'label_values({{__name__=~"{OURS}"@{{own:filters}}@{{selector:more}}}}, job)', ".+"),
        # no pattern for All: only the listed instances, which the environment has chosen
        ("instance", "Instance", f"label_values(target_info{{{target}}}, instance)", None),
    ]
    if with_schema:
        values = f"label_values(schema_validation_duration_seconds_count{{{RECORDED}}}, schema_name)"
        asked.append(("schema", "Schema", values, ".+"))
    for name, label, values, everything in asked:
        variable = builders.QueryVariable(name).label(label).datasource(DATASOURCE).query(_values(values))
        variable = variable.multi(True).include_all(True).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        variable = variable.sort(models.VariableSort.ALPHABETICAL_ASC)
        variable = variable.current(models.VariableOption(text=["All"], value=["$__all"], selected=True))
        found.append(variable.all_value(everything) if everything else variable)
    return found


def _values(expression: str) -> dict[str, Any]:
    return {"query": expression, "refId": "variable", "qryType": 1}


def _fed(panel: Panel, targets: Sequence[prometheus.Dataquery]) -> Panel:
    panel = panel.datasource(DATASOURCE)
    for target in targets:
        panel = panel.with_target(target)
    return panel
