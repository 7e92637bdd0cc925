"""What every panel and dashboard here has in common; a dashboard's file says only what is its own.

Limits are marks, `@{error_ratio}`, which `otel-schema export` replaces: a panel's threshold is the alert's. So are the
selector, the own labels and the prefix of what rules record. What an alert compares is recorded; its panel shows that.

Colours mean something: green is valid or within its limit, orange invalid input, red a failure or beyond a limit, grey
says that there is nothing to judge. Series without such a meaning take their colour from their name.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from opentelemetry.instrumentation.schema._monitoring import rendering

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
OURS = (
    "schema_validation_duration_seconds_count|schema_left_out|schema_telemetry_errors_total|schema_migration_pending"
    "|schema_migration_last_run_timestamp_seconds"
)
"""Series that no other program has: they show which jobs there are."""
EVERY = "$__rate_interval"
RANGE = "$__range"
STEP = "$__interval"
TEN = 10
"""Series that a panel shows: nobody can tell more than ten lines apart."""
GREY = "#808080"
SEVERITIES = {"critical": "red", "warning": "orange", "info": "blue"}
OUTCOMES = {"valid": "green", "invalid": "orange", "error": "red"}


class Alert(NamedTuple):
    """An alert of the templates: its name, what chooses its series, and the panel that its link opens."""

    name: str
    chosen: str
    panel: str


def alerts() -> Iterator[Alert]:
    """Every alert but the dead-man's switch, each name once."""
    found: dict[str, Alert] = {}
    for file in rendering.RULES:
        for rule in (rendering.templates() / file).read_text(encoding="utf-8").split("      - alert: ")[1:]:
            name = rule.split("\n", 1)[0]
            chosen = "selector:telemetry" if "@{platform_team}" in rule.split("annotations:")[0] else "selector:more"
            link = re.search(r"/d/(@{prefix}[\w-]+/[\w-]+\?viewPanel=\d+)", rule)
            if link and name != "Watchdog":
                found[name] = Alert(name, "collector:more" if file.startswith("collector") else chosen, link[1])
    yield from found.values()


def firing(state: str = 'ALERTS{alertstate="firing", ', more: str = "", before: str = "") -> str:
    """Our firing alerts, by name and selector.

    Args:
        state: the series to ask for, up to where the matchers go on.
        more: further matchers.
        before: how long ago; now if empty.
    """
    offset = f" offset {before}" if before else ""
    by_choice: dict[str, list[str]] = {}
    for alert in alerts():
        by_choice.setdefault(alert.chosen, []).append(alert.name)
    return " or ".join(
        f'{state}alertname=~"{"|".join(names)}"{more}@{{{chosen}}}}}{offset}' for chosen, names in by_choice.items()
    )


LOADED = '(ALERTS{alertname="Watchdog", alertstate="firing"} and on () @{prefix:recorded}schema_rules:loaded)'
"""There while Prometheus evaluates our rules. Others have a Watchdog too; only our rules record the other series."""


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


def chosen_ten(series: str, over: str = "max_over_time", worst: str = "topk") -> str:
    """At most ten series, chosen over the dashboard's whole range, so that none comes and goes from sample to sample.

    Args:
        series: a selector.
        over: what ranks a series in the range: `max_over_time`, `min_over_time`.
        worst: `topk`, or `bottomk` where less is worse.
    """
    return f"{series} and {worst}({TEN}, {over}({series}[{RANGE}] @ end()))"


def busiest_ten(rate: str, by: str) -> str:
    """At most ten sums of a counter by labels, those that grew most over the dashboard's whole range.

    Args:
        rate: `rate(…[$__rate_interval])` of a counter.
        by: labels.
    """
    grown = rate.replace("rate(", "increase(").replace(f"[{EVERY}]", f"[{RANGE}] @ end()")
    return f"sum by ({by}) ({rate}) and on ({by}) topk({TEN}, sum by ({by}) ({grown}) > 0)"


def query(expr: str, legend: str = "__auto", ref: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().datasource(DATASOURCE).expr(expr).legend_format(legend).ref_id(ref).range()


def with_exemplars(target: prometheus.Dataquery) -> prometheus.Dataquery:
    return target.exemplar(True)


def instant(expr: str, ref: str = "A") -> prometheus.Dataquery:
    target = prometheus.Dataquery().datasource(DATASOURCE).expr(expr).ref_id(ref).instant()
    return target.format(_table_format())


def now(expr: str, legend: str = "__auto", ref: str = "A") -> prometheus.Dataquery:
    """A value of this moment: over a range a tile would go on showing the last number after traffic has ended."""
    return prometheus.Dataquery().datasource(DATASOURCE).expr(expr).legend_format(legend).ref_id(ref).instant()


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


def timeseries_panel(
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
    # no points: what is drawn as a point is an exemplar
    panel = panel.min(0).line_width(1).fill_opacity(0).show_points(kinds.VisibilityMode.NEVER).thresholds(GREEN)
    panel = panel.color_scheme(_by(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    return _fed(panel, targets)


def limited(panel: timeseries.Panel, limit: builders.ThresholdsConfig) -> timeseries.Panel:
    """A dashed line at the limit, which the scale always reaches."""
    style = common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
    highest: Any = limit.build().steps[-1].value
    soft: Any = highest.replace("}", ":above}") if isinstance(highest, str) else highest * 1.25
    return panel.thresholds(above(highest)).thresholds_style(style).axis_soft_max(soft)


LIMIT = "limit"


def latency(
    title: str, description: str, *targets: prometheus.Dataquery, limit: str = "", shown: str = ""
) -> timeseries.Panel:
    """Seconds over time on a scale of powers of ten: 10 µs and 1 s are both read.

    Args:
        title: of the panel.
        description: of the panel.
        targets: queries, the first of which has the letter A.
        limit: a mark; drawn as a series, because a logarithmic scale does not reach out for a threshold.
        shown: the series beside which the limit is drawn: where there are none the panel stays empty.
    """
    panel = timeseries_panel(title, description, "s", *targets)
    panel.build().field_config.defaults.min_val = None  # type: ignore[union-attr]  # zero has no logarithm
    panel = panel.scale_distribution(common.ScaleDistributionConfig().type(kinds.ScaleDistribution.LOG).log(10))
    if not limit:
        return panel
    panel = panel.thresholds(above(limit)).with_target(query(f"vector({limit}) and on () {shown}", LIMIT, "L"))
    dashes = {"fill": "dash", "dash": [10, 10]}
    return panel.override_by_name(
        LIMIT,
        [
            models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": "red"}),
            models.DynamicConfigValue(id_val="custom.lineStyle", value=dashes),
        ],
    )


def coloured(panel: Panel, colours: dict[str, str]) -> Panel:
    """A fixed colour for each series whose name starts with a word."""
    for name, colour in colours.items():
        value = {"mode": "fixed", "fixedColor": colour}
        panel = panel.override_by_regexp(rf"/^{name}\b/", [models.DynamicConfigValue(id_val="color", value=value)])
    return panel


def failures(panel: Panel, colour: str = "red") -> Panel:
    """Every series in a shade of one colour: none of them is good news, none may be green."""
    return panel.color_scheme(_by(models.FieldColorModeId.SHADES, colour))


def _by(mode: models.FieldColorModeId, colour: str | None = None) -> builders.FieldColor:
    scheme = builders.FieldColor().mode(mode)
    return scheme.fixed_color(colour) if colour else scheme


def tile(title: str, description: str, unit: str, *targets: prometheus.Dataquery) -> stat.Panel:
    """What is true now, with its name, on a ground that says whether that is well. Queries are of this moment."""
    reduce = common.ReduceDataOptions().calcs(["last"])
    panel = stat.Panel().title(title).description(description).unit(unit).reduce_options(reduce).thresholds(GREEN)
    panel = panel.graph_mode(kinds.BigValueGraphMode.NONE).color_mode(kinds.BigValueColorMode.BACKGROUND_SOLID)
    return _fed(panel.text_mode(kinds.BigValueTextMode.VALUE_AND_NAME), targets)


def judged(worst: str, label: str, nothing: str) -> str:
    """The worst of what an alert compares; where there is nothing to judge, a number below zero that says why.

    Args:
        worst: at most one value.
        label: that the legend names.
        nothing: what the label says if no traffic is worth a judgement.
    """
    quiet = f'label_replace(vector({QUIET}) and on () {LOADED}, "{label}", "{nothing}", "", "")'
    return (
        f'{worst} or on () {quiet} or on () label_replace(vector({UNJUDGED}), "{label}", "no alert can fire", "", "")'
    )


QUIET, UNJUDGED = -1, -2
UNKNOWN = {str(QUIET): ("no traffic", GREY), str(UNJUDGED): ("rules not loaded", "red")}


def worded(panel: Panel, texts: dict[str, tuple[str, str]]) -> Panel:
    """Words and colours for numbers."""
    options = {value: models.ValueMappingResult(text=text, color=colour) for value, (text, colour) in texts.items()}
    return panel.mappings([models.ValueMap(options=options)])


def stat_panel(title: str, description: str, unit: str, target: prometheus.Dataquery) -> stat.Panel:
    """One number, with its course behind it."""
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"])
    panel = stat.Panel().title(title).description(description).unit(unit).reduce_options(reduce)
    panel = panel.graph_mode(kinds.BigValueGraphMode.AREA).color_mode(kinds.BigValueColorMode.VALUE).thresholds(GREEN)
    return _fed(panel, [target])


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        heading: of the column.
        unit: of its numbers; empty for text.
        links: where a click on a cell leads.
        texts: for values, or for what a /pattern/ matches: the text and, where it means something, the colour.
        width: in pixels; the table chooses if it is 0.
        none: in a cell without a value.
    """

    heading: str
    unit: str = ""
    links: Sequence[dict[str, Any]] = ()
    texts: Mapping[str, tuple[str, str]] = MappingProxyType({})
    width: int = 0
    none: str = "–"


def table_panel(
    title: str,
    description: str,
    columns: dict[str, Column | tuple[str, str]],
    *targets: prometheus.Dataquery,
    sort: str = "",
    descending: bool = True,
) -> table.Panel:
    """A table of instant queries joined by their labels.

    Args:
        title: of the panel.
        description: of the panel.
        columns: field (`Value #A`, or a label) → column, in order; all others are hidden. Grafana writes `Value`
            without a letter where only one query has an answer: then it is the first.
        targets: instant queries; all but the first are limited to the rows of the first.
        sort: heading of the column to sort by.
        descending: whether the highest comes first.
    """
    panel = table.Panel().title(title).description(description).thresholds(GREEN)
    panel = panel.cell_options(kinds.TableAutoCellOptions())
    # own labels come last: two more columns would push the numbers out of sight
    ordered = sorted(columns.items(), key=lambda column: column[0] == "@{label}")
    named = {name: Column(*column) for name, column in ordered}
    renamed = {name: column.heading for name, column in named.items()}
    places = {name: number for number, name in enumerate(renamed)}
    if "Value #A" in renamed:
        renamed["Value"], places["Value"] = renamed["Value #A"], places["Value #A"]
    hidden = {name: True for name in (*HIDDEN, "Value") if name not in renamed}
    panel = panel.transformations(
        [
            models.DataTransformerConfig(id_val="merge", options={}),
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": hidden,
                    "indexByName": places,
                    "renameByName": renamed,
                },
            ),
        ]
    )
    # of own labels too: a mark in a matcher does not stand for several labels
    panel = panel.override_by_field_type("string", [models.DynamicConfigValue(id_val="noValue", value="–")])
    for name, column in named.items():
        if name == "@{label}":
            continue
        properties = {
            "unit": column.unit or None,
            "decimals": 0 if column.unit == "short" else None,  # increase() extrapolates: 41.3 errors
            "noValue": column.none,  # or the panel's own text for "no data" would stand in the cell
            "custom.width": column.width or (220 if column.heading in WIDE else None),
            "links": list(column.links) or None,
            "mappings": _texts(column.texts) or None,
            "custom.cellOptions": {"type": "color-text"} if any(one for _, one in column.texts.values()) else None,
        }
        panel = panel.override_by_name(
            column.heading,
            [
                models.DynamicConfigValue(id_val=key, value=value)
                for key, value in properties.items()
                if value is not None
            ],
        )
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(descending)])
    return _fed(panel, targets)


def _texts(texts: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    found = []
    for number, (value, (text, colour)) in enumerate(texts.items()):
        result = {"text": text, "index": number} | ({"color": colour} if colour else {})
        if value.startswith("/"):
            found.append({"type": "regex", "options": {"pattern": value, "result": result}})
        else:
            found.append({"type": "value", "options": {value: result}})
    return found


def drill(title: str, uid: str, *, panel: int = 0, **fields: str) -> dict[str, Any]:
    """A link from a table's row to a dashboard, in the same time range, with the row's job and own labels chosen.

    Args:
        title: of the link.
        uid: of the dashboard.
        panel: the one to open; 0 for the whole dashboard.
        fields: variable → the field of the row that is its value.
    """
    view = f"&viewPanel={panel}" if panel else ""
    chosen = "".join(f"&var-{name}=${{__data.fields.{field}:percentencode}}" for name, field in fields.items())
    return {"title": title, "url": f"/d/@{{prefix}}{uid}?${{__url_time_range}}{view}@{{own:drill}}{chosen}"}


WIDE = ("Alert", "Route")
HIDDEN = (
    "Time", "__name__", "job", "instance", "alertstate", "schema_library", "runbook_url", "@{label}",
    "http_request_method", "http_route", "schema_endpoint", "schema_name", "schema_module",
)  # fmt: skip


def ranked_ten(series: str, by: str, ranks: str) -> str:
    """At most ten series by labels, those for which something over the dashboard's whole range is highest."""
    return f"{series} and on ({by}) topk({TEN}, {ranks})"


def heatmap_panel(title: str, description: str, unit: str, target: prometheus.Dataquery) -> heatmap.Panel:
    """A histogram over time. The query is a sum by le in the heat map's own format."""
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    panel = heatmap.Panel().title(title).description(description).thresholds(GREEN).calculate(False)
    panel = panel.y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(kinds.AxisPlacement.LEFT))
    panel = panel.color(
        heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    )
    panel = panel.exemplars_color("rgba(255,0,255,0.7)").unit("reqps")
    return _fed(panel, [target.format(PromQueryFormat.HEATMAP)])


def text_panel(title: str, description: str, content: str) -> text.Panel:
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
    """Say why there may be nothing to show."""
    return panel.no_value(why)


def at(panel: Panel, identity: int, x: int, y: int, w: int, h: int) -> Panel:
    """A panel in its place, with the number that links name it by."""
    return panel.id(identity).grid_pos(models.GridPos(h=h, w=w, x=x, y=y))


def make_dashboard(
    uid: str, title: str, description: str, panels: Sequence[Panel], schema_variable: bool = False
) -> Any:
    """A dashboard: its variables, the way to its sisters, and panels, each put in its place by `at`."""
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
    for annotation in _annotations():
        board = board.annotation(annotation)
    for panel in panels:
        board = board.with_row(panel) if isinstance(panel, builders.Row) else board.with_panel(panel)
    return board.build()


def row(title: str, identity: int, y: int, *collapsed: Panel) -> builders.Row:
    """A heading over the panels below it, or over panels that stay folded in until somebody opens it."""
    made = builders.Row(title).id(identity).collapsed(False).grid_pos(models.GridPos(h=1, w=24, x=0, y=y))
    for panel in collapsed:
        made = made.with_panel(panel)
    return made


def _variables(with_schema: bool) -> list[Any]:
    source = builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    found = [source]
    ours = f'{{__name__=~"{OURS}"@{{selector:more}}}}'
    of_jobs = f'{{__name__=~"{OURS}", job=~"$job"@{{own:filters}}@{{selector:more}}}}'
    asked = [
        # stands once for each own label beside job
        ("@{label}", "@{label}", f"label_values({ours}, @{{label}})", ".*"),
        ("job", "Job", f'label_values({{__name__=~"{OURS}"@{{own:filters}}@{{selector:more}}}}, job)', ".+"),
        # a pattern for All, here too: no query spells out a hundred instances
        ("instance", "Instance", f"label_values({of_jobs}, instance)", ".*"),
    ]
    if with_schema:
        values = f"label_values(schema_validation_duration_seconds_count{{{RECORDED}}}, schema_name)"
        asked.append(("schema", "Schema", values, ".+"))
    for name, label, values, everything in asked:
        variable = builders.QueryVariable(name).label(label).datasource(DATASOURCE).query(_values(values))
        variable = variable.multi(True).include_all(True).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        variable = variable.sort(models.VariableSort.ALPHABETICAL_ASC).all_value(everything)
        found.append(variable.current(models.VariableOption(text=["All"], value=["$__all"], selected=True)))
    return found


SIGNALS = {"spans": "suffix:spans/s", "points": "suffix:points/s"}


def of_signals(panel: Panel) -> Panel:
    """The unit of each series by the last word of its name."""
    for word, unit in SIGNALS.items():
        panel = panel.override_by_regexp(f"/{word}$/", [models.DynamicConfigValue(id_val="unit", value=unit)])
    return panel


def unseen(panel: Panel, ref: str) -> Panel:
    """A query that is asked for its exemplars alone."""
    hidden = {"viz": True, "legend": True, "tooltip": True}
    return panel.override_by_query(ref, [models.DynamicConfigValue(id_val="custom.hideFrom", value=hidden)])


def _annotations() -> Iterator[builders.AnnotationQuery]:
    """When alerts began to fire, and deployments: moments, because ten shaded ranges hide the lines behind them."""
    of_each = f"sum by (alertname, severity, {OWN})"
    begun = f"{of_each} ({firing()}) unless {of_each} ({firing(before=STEP)})"
    yield _annotation("Alerts", begun, "red", "{{alertname}}", "{{severity}} {{job}}")
    # a process, or a version of the app at an address, that was not there before, of whoever reports schema telemetry
    here = f"target_info{{{RECORDED}}}"
    new = f"{here} unless on ({OWN}, instance, service_version) {here} offset {STEP}"
    known = f"and on ({OWN}) {here} offset {STEP}"  # the first of all is no deployment
    ours = f"and on ({OWN}) {recorded('job:schema_telemetry_processes:count')}"
    deployments = f"count by ({OWN}, service_version) ({new} {known} {ours})"
    yield _annotation("Deployments", deployments, "blue", "{{job}} {{service_version}}", "new processes")
    yield _runs("Migrations", "purple", "applied|rolled_back")
    yield _runs("Failed migrations", "orange", "failed|partial")


def _runs(name: str, colour: str, outcomes: str) -> builders.AnnotationQuery:
    """Runs of migration tools, each at the time that is its gauge's value: Grafana takes that in ms.

    Such a series lives two minutes, which the steps of a long range pass over: hence last_over_time(). A run that found
    nothing to do has no direction.
    """
    matchers = f'schema_migration_direction!="", schema_migration_outcome=~"{outcomes}", {RECORDED}'
    labels = "schema_migration_tool, db_namespace, schema_migration_direction, schema_migration_outcome"
    last = f"last_over_time(schema_migration_last_run_timestamp_seconds{{{matchers}}}[{EVERY}])"
    title = "{{schema_migration_direction}} {{schema_migration_outcome}}"
    content = f"{{{{schema_migration_tool}}}} {{{{db_namespace}}}} {WHERE}"
    made = _annotation(name, f"max by ({OWN}, {labels}) ({last}) * 1000", colour, title, content)
    return made.use_value_for_time(True).tag_keys("schema_migration_tool,schema_migration_outcome")


def _annotation(name: str, expr: str, colour: str, title: str, content: str) -> builders.AnnotationQuery:
    made = builders.AnnotationQuery().name(name).datasource(DATASOURCE).enable(True).icon_color(colour)
    made = made.title_format(title).text_format(content).tag_keys("severity,service_version")
    return made.target(query(expr, ref="Anno"))


def _values(expression: str) -> dict[str, Any]:
    return {"query": expression, "refId": "variable", "qryType": 1}


def _fed(panel: Panel, targets: Sequence[prometheus.Dataquery]) -> Panel:
    panel = panel.datasource(DATASOURCE)
    for target in targets:
        panel = panel.with_target(target)
    return panel
