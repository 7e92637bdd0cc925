"""The pure part of `otel-schema top`: parsing, quantiles, rows and cells."""

from __future__ import annotations

import json
import math
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema._prometheus.exposition import parse
from opentelemetry.instrumentation.schema._prometheus.quantile import histogram_quantile, share_above
from opentelemetry.instrumentation.schema._prometheus.reading import Reading
from opentelemetry.instrumentation.schema._prometheus.report import Report
from opentelemetry.instrumentation.schema._prometheus.server import duration
from opentelemetry.instrumentation.schema.cli.tables import UNKNOWN, seconds, share, tables
from rich.console import Console

TEXT = """\
# TYPE schema_validation_duration_seconds histogram
schema_validation_duration_seconds_bucket{SCHEMA,schema_validation_outcome="valid",instance="a",le="0.001"} 90
schema_validation_duration_seconds_bucket{SCHEMA,schema_validation_outcome="valid",instance="a",le="0.01"} 90
schema_validation_duration_seconds_bucket{SCHEMA,schema_validation_outcome="valid",instance="a",le="+Inf"} 90
schema_validation_duration_seconds_bucket{SCHEMA,schema_validation_outcome="invalid",instance="b",le="0.001"} 4
schema_validation_duration_seconds_bucket{SCHEMA,schema_validation_outcome="invalid",instance="b",le="0.01"} 5
schema_validation_duration_seconds_bucket{SCHEMA,schema_validation_outcome="invalid",instance="b",le="+Inf"} 10
# TYPE validation_errors_total counter
validation_errors_total{SCHEMA,error_type="ValidationError",http_request_method="POST",http_route="/leads"} 9
validation_errors_total{SCHEMA,error_type="KeyError",http_request_method="POST",http_route="/leads"} 1
validation_errors_total{SCHEMA,error_type="ValidationError",http_request_method="GET",http_route="/leads"} 0
# TYPE schema_validation_problems_total counter
schema_validation_problems_total{SCHEMA,schema_problem_path="phones.*.number",schema_problem_rule="string_type"} 7
schema_validation_problems_total{SCHEMA,schema_problem_path="name",schema_problem_rule="missing"} 0
# TYPE api_requests_total counter
api_requests_total{http_request_method="POST",http_route="/leads"} 40
api_requests_total{http_request_method="GET",http_route="/leads"} 20
api_requests_total{http_request_method="GET"} 2
api_requests_total{schema_endpoint="import-leads"} 1
# TYPE cache_hits_total counter
cache_hits_total{SCHEMA,schema_cache_name="validator",otel_scope_name="ours"} 3
cache_hits_total{SCHEMA,schema_cache_name="validator",otel_scope_name="theirs"} 4
# TYPE cache_misses_total counter
cache_misses_total{SCHEMA,schema_cache_name="validator"} 3
cache_misses_total{schema_name="Lead",schema_module="crm",schema_library="pydantic",schema_cache_name="lru"} 10
# TYPE schema_telemetry_dropped_total counter
schema_telemetry_dropped_total{schema_telemetry_instrument="validation.errors"} 0
# TYPE python_info gauge
python_info{version="3"} 1
""".replace("SCHEMA", 'schema_name="Lead",schema_module="app",schema_library="pydantic"')


@pytest.fixture
def report():
    return Report.of(Reading.of(parse(TEXT)))


def test_validations_are_summed_over_road_and_outcome(report):
    """A schema's count, failures and slow share come from all its outcomes and instances together."""
    (row,) = report.validations
    assert (row.count, row.failed, row.slow_share) == (100, 10, pytest.approx(0.05))
    assert row.p50 == pytest.approx(0.001 * 50 / 94)
    assert row.p99 == 0.01


def test_endpoints_divide_errors_by_requests(report):
    """An endpoint's errors are all its failed validations over its requests, and one that never failed reads 0."""
    rows = {row.endpoint: row for row in report.endpoints}
    assert (rows["POST /leads"].errors, rows["POST /leads"].error_rate) == (10, 0.25)
    assert rows["POST /leads"].error_types == {"KeyError": 1, "ValidationError": 9}
    assert (rows["GET /leads"].error_rate, rows["GET /leads"].error_types) == (0, {})
    assert math.isnan(rows["GET (no route)"].error_rate)
    assert rows.keys() == {"POST /leads", "GET /leads", "GET (no route)", "import-leads"}


def test_caches_have_a_total(report):
    """The total hit rate is hits over look-ups of every cache, also of those that only ever missed."""
    assert [(row.cache, row.hits, row.misses, row.hit_rate) for row in report.caches] == [
        ("lru", 0, 10, 0),
        ("validator", 7, 3, 0.7),
    ]
    assert report.cache_total.hit_rate == 0.35


def test_module_only_where_names_collide(report):
    """Two schemas of one name are told apart by their modules."""
    assert {row.schema for row in report.caches} == {"Lead (app)", "Lead (crm)"}


STRANGERS = """\
api_requests_total{path="/"} 7
validation_errors_total{http_route="/leads",http_request_method="POST"} 3
cache_hits_total{cache="x"} 5
api_requests_total{otel_metric_overflow="true"} 2
cache_misses_total{otel_metric_overflow="true"} 1
"""


def shown(report: Report) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        for table in tables(report):
            console.print(table)
    return capture.get()


def test_what_others_count_under_our_names_is_marked():
    """Rows of another program's series say so, and our own series past a limit keep their name."""
    report = Report.of(Reading.of(parse(TEXT + STRANGERS)))
    rows = {row.endpoint: row for row in report.endpoints}
    assert {name: row.ours for name, row in rows.items() if not row.ours} == {"-": False}
    assert (rows["-"].requests, rows["-"].errors, rows["POST /leads"].errors) == (7, 3, 10)
    assert rows["otel.metric.overflow"].requests == 2
    assert [(row.cache, row.hits) for row in report.caches if not row.ours] == [("-", 5)]
    text = shown(report)
    assert text.count("(not ours)") == 2
    assert text.count("otel.metric.overflow") == 2


def test_rows_that_never_counted_are_hidden():
    """A table leaves out what never counted; live, a row stays that counted before, though not in the last minute."""
    idle = Reading.of(parse(TEXT + 'api_requests_total{http_request_method="GET",http_route="/never"} 0\n'))
    for text in (shown(Report.of(idle)), shown(Report.of(idle.since(idle, 60)))):
        assert "POST /leads" in text
        assert "/never" not in text


def test_no_rate_of_errors_where_no_schema_is_observed(report):
    """An endpoint of which no schema is observed has a dash for its errors, one whose errors are zero has 0.00 %."""
    lines = {line.split("│")[1].strip(): line for line in shown(report).splitlines() if line.count("│") > 5}
    assert f" {UNKNOWN} " in lines["import-leads"]
    assert "%" not in lines["import-leads"]
    assert "0.00 %" in lines["GET /leads"]


def test_a_gauge_is_neither_summed_nor_subtracted():
    """What every process tells alike stays as it is, over processes and over time."""
    info = 'schema_info{schema_name="Lead",schema_version="1",instance="%s"} 1\n'
    reading = Reading.of(parse(info % "a" + info % "b"))
    for each in (reading, reading.since(reading, 60)):
        assert [*each.series["schema.info"].values()] == [{math.inf: 1.0}]


def test_what_is_left_out_is_shown_by_distribution():
    """Schemas that are not observed stand in a table of their own, once, however many processes tell of them."""
    lines = [f'schema_left_out{{schema_distribution="stripe",instance="{each}"}} 12\n' for each in "ab"]
    text = shown(Report.of(Reading.of(parse(TEXT + "".join(lines) + 'schema_left_out{schema_distribution="x"} 0\n'))))
    assert "Left out" in text
    assert re.search(r"stripe +│ +12 ", text)
    assert "│ x " not in text


def test_zeros_are_no_findings(report):
    """Problems and losses that were counted zero times make no row."""
    assert [(row.path, row.rule) for row in report.problems] == [("phones.*.number", "string_type")]
    assert report.health == []


def test_json_has_no_nan():
    """An empty report is valid JSON, with null for what nobody measured."""
    document = json.dumps(Report.of(Reading.of([])).as_dict(), allow_nan=False)
    assert json.loads(document)["cache_total"]["hit_rate"] is None


@pytest.mark.parametrize("text", ["<html><body>hello</body></html>", '{"status": "ok"}', "Not Found"])
def test_other_text_is_refused(text):
    """What is not the text format is a ValueError, not an empty reading."""
    with pytest.raises(ValueError):  # noqa: PT011 (of any message)
        list(parse(text))


def test_openmetrics_reads_the_same():
    """OpenMetrics of the same samples gives the same reading as the text format."""
    family = '# TYPE cache_hits counter\ncache_hits_total{schema_cache_name="c"} 3\n# EOF\n'
    text = '# TYPE cache_hits_total counter\ncache_hits_total{schema_cache_name="c"} 3\n'
    assert Reading.of(parse(family)) == Reading.of(parse(text))


counts = st.lists(st.integers(0, 50), min_size=1, max_size=6)


@given(counts, counts)
def test_difference_undoes_the_sum(first, more):
    """What was counted between two readings is what was added, and everything where a series restarted."""
    length = min(len(first), len(more))

    def reading(numbers):
        return Reading.of(("cache_hits_total", {"schema_cache_name": str(i)}, n) for i, n in enumerate(numbers))

    before, after = reading(first[:length]), reading([a + b for a, b in zip(first, more, strict=False)])
    assert after.since(before, 1).series == reading(more[:length]).series
    restarted = reading([max(n - 1, 0) for n in first])
    assert all(
        restarted.since(reading(first), 1).series["cache.hits"][key] == value
        for key, value in restarted.series["cache.hits"].items()
    )


@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=8),
    st.fractions(0, 1, max_denominator=100),
)
def test_quantile_interpolates_in_the_bucket_of_the_rank(observed, q):
    """The quantile equals, in exact arithmetic, linear interpolation in the first bucket that reaches the rank."""
    bounds = [*(float(i + 1) for i in range(len(observed) - 1)), math.inf]
    cumulative = [sum(observed[: i + 1]) for i in range(len(observed))]
    total = cumulative[-1]
    value = histogram_quantile(float(q), dict(zip(bounds, cumulative, strict=True)))
    if total == 0:
        assert math.isnan(value)
        return
    # the same float rank as Prometheus's
    rank = Fraction(float(q) * total)
    at = next(i for i, count in enumerate(cumulative) if count >= rank)
    if bounds[at] == math.inf:
        assert value == bounds[-2]
    elif observed[at] == 0:
        assert math.isnan(value)
    else:
        below = cumulative[at] - observed[at]
        assert value == pytest.approx(float(at + (rank - below) / observed[at]))


@pytest.mark.parametrize(
    ("q", "counts", "expected"),
    [
        (0.5, {}, math.nan),
        (0.5, {math.inf: 5}, math.nan),
        (0.5, {1.0: 5}, math.nan),
        (0.5, {-1.0: 5, 1.0: 5, math.inf: 5}, -1.0),
        (-0.1, {1.0: 5, math.inf: 5}, -math.inf),
        (1.1, {1.0: 5, math.inf: 5}, math.inf),
        (0.9, {1.0: 8, 2.0: 6, math.inf: 6}, 0.9),
    ],
)
def test_quantile_edges(q, counts, expected):
    """Where there is nothing to interpolate the answer is Prometheus's."""
    assert histogram_quantile(q, counts) == pytest.approx(expected, nan_ok=True)


def test_share_above_needs_the_boundary():
    """The share above a bound that is no bucket's is unknown rather than guessed."""
    assert share_above(0.01, {0.01: 3, math.inf: 4}) == 0.25
    assert math.isnan(share_above(0.02, {0.01: 3, math.inf: 4}))
    assert math.isnan(share_above(0.01, {0.01: 0, math.inf: 0}))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 µs"), (4.75e-6, "4.75 µs"), (999.6e-6, "1 ms"), (0.0123, "12.3 ms"), (0.9999, "1 s"), (2.5, "2.5 s")],
)
def test_seconds_choose_a_unit(value, text):
    """A duration is shown in the unit in which it is a number from 1 to 999."""
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00 %"),
        (1e-7, "<0.01 %"),
        (0.0512, "5.12 %"),
        (1 - 1e-7, ">99.99 %"),
        (1, "100.00 %"),
        (math.nan, UNKNOWN),
    ],
)
def test_share_is_never_rounded_to_none_or_all(value, text):
    """A percentage shows 0 or 100 only where it is."""
    assert share(value) == text


@pytest.mark.parametrize(("text", "expected"), [("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("1w", 604800)])
def test_durations(text, expected):
    """A PromQL duration is its number of seconds."""
    assert duration(text) == expected


@pytest.mark.parametrize("text", ["", "5", "m", "0s", "5 m", "5m]"])
def test_no_durations(text):
    """What PromQL would refuse, or what would be an injection, is refused."""
    with pytest.raises(ValueError, match=r"duration|longer"):
        duration(text)


def test_tables_say_what_they_leave_out():
    """A table that is cut says how many rows are missing, and a name that looks like markup is shown as it is."""
    samples = [
        ("schema_validation_problems_total", {"schema_name": f"[red]{i}", "schema_problem_path": "a"}, 1.0)
        for i in range(5)
    ]
    console = Console(width=120)
    with console.capture() as capture:
        for table in tables(Report.of(Reading.of(samples)), limit=3):
            console.print(table)
    assert "and 2 more" in capture.get()
    assert "[red]0" in capture.get()
