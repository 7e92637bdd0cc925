"""The guard's rule: what it finds, what it leaves alone, and that the simulation tells of this rule and no other."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema._migrations.guard import evidence, rule
from opentelemetry.instrumentation.schema._migrations.guard.evidence import BlockCounts

from tests.guard import scenarios, simulation, vectors
from tests.guard.simulation import MANY, ROWS, WATCH

CODES = {"degraded": 1, "pass": 0, "inconclusive": -1}
ROW = {row.name: row for row in (*ROWS, *MANY)}


def _judged(n: list[float], x: list[float], alpha: float = rule.ALPHA) -> rule.Judgement:
    past = rule.fit_null(BlockCounts(n[:-WATCH], x[:-WATCH]), WATCH, alpha)
    return rule.judge(past, BlockCounts(n[-WATCH:], x[-WATCH:]), WATCH)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.reader], ids=lambda row: row.name)
def test_the_simulation_is_of_this_rule(row: scenarios.Row) -> None:
    """Plain Python and numpy give the same verdict at the same block, for every kind of service."""
    for rate in row.rates[-1:]:
        n, x = scenarios.data(np.random.default_rng([5, round(rate * 100)]), 2, rate, **row.facts)
        verdicts = vectors.verdicts(n, x, WATCH)
        for i in range(2):
            judged = _judged(n[i].tolist(), x[i].tolist())
            assert (CODES[judged.verdict], judged.block) == (verdicts.verdict[i], verdicts.at[i])


def test_endpoints_share_a_bar_in_both() -> None:
    """Endpoints that are judged together have the highest bar of any of them, in plain Python as in numpy."""
    g = np.random.default_rng(3)
    n, x = scenarios.data(g, 4, 1, p0=0.01, bursts=(6, 20, 0.25))
    x[0, -30:] = np.minimum(n[0, -30:], 9)
    found = vectors.verdicts(n, x, WATCH, 0.001, together=4)
    pasts = rule.fit_nulls(
        [BlockCounts(n[i, :-WATCH].tolist(), x[i, :-WATCH].tolist()) for i in range(4)], WATCH, 0.004
    )
    judged = [
        rule.judge(past, BlockCounts(n[i, -WATCH:].tolist(), x[i, -WATCH:].tolist()), WATCH)
        for i, past in enumerate(pasts)
    ]
    assert len({(past.bar, past.excluded_blocks) for past in pasts}) == 1
    assert [(CODES[each.verdict], each.block) for each in judged] == list(zip(found.verdict, found.at, strict=True))
    assert judged[0].verdict == "degraded"


@pytest.mark.parametrize("length", [12, 20])
def test_bursts_of_siblings_count(length: int) -> None:
    """A burst at an endpoint that never had one is judged by those of the other endpoints: as long, and as bad."""
    calm, burst = [15.0] * 1440, [0.0] * 1440
    burst[900 : 900 + length] = [6.0] * length  # in each of two siblings
    steady = [float(i % 40 == 0) for i in range(1440)]
    histories = [
        evidence.BlockCounts(calm, [max(a, b) for a, b in zip(steady, own, strict=True)]) for own in (burst, burst)
    ]
    histories += [evidence.BlockCounts(calm, steady)] * 4
    after = evidence.BlockCounts([15.0] * WATCH, [0.0] * 20 + [6.0] * length + [0.0] * (20 - length))
    alone, *_, among = rule.fit_null(histories[-1], WATCH, 0.0001), *rule.fit_nulls(histories, WATCH, 0.0006)
    assert rule.judge(alone, after, WATCH).verdict == "degraded"
    assert among.excluded_blocks > alone.excluded_blocks
    assert rule.judge(among, after, WATCH).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("name", "rate", "least", "most"),
    [
        ("steady, 1 %", 20, 0, 0),
        ("bursts: 5 an hour, 25 s, 22 % fail", 20, 0, 5),
        ("a deployment: 60 s of 50 %", 20, 0, 3),
        ("1 → 4 %", 20, 97, 100),
        ("1 → 30 %", 0.2, 95, 100),
        ("samples: workers restart, 1 %", 20, 0, 0),
        ("samples: workers restart, 1 → 4 %", 20, 96, 100),
        ("samples: workers move to another gateway, 1 → 4 %", 20, 96, 100),
        ("20 endpoints, steady", 1, 0, 2),
    ],
)
def test_a_short_simulation(name: str, rate: float, least: float, most: float) -> None:
    """Some runs of the table's rows alarm about as often as the table says."""
    runs = 30 if ROW[name].reader else 25 if ROW[name] in MANY else 100
    counts = simulation.simulated(ROW[name], rate, runs, seed=99)
    assert least <= 100 * counts["degraded"] / runs <= most


def test_a_doubling_does_not_pass() -> None:
    """Of a rate that doubled at most one watch in twenty is called a pass, with much traffic or little."""
    for name in ("1 → 2 %", "7 → 14 %"):
        for rate in (1, 20):
            counts = simulation.simulated(ROW[name], rate, 100, seed=98)
            assert counts["pass"] <= 10, name


def test_the_limit_says_which_rate_it_is_of() -> None:
    """After a deployment's blip the limit is of the last half, and says so: else it would lie below its own rate."""
    n, usual = [300.0] * 1480, [3.0] * 1480
    harmless, blip = _judged(n, usual), _judged(n, [*usual[:1440], *[150.0] * 4, *usual[1444:]])
    assert (harmless.verdict, harmless.late, blip.verdict, blip.late) == ("pass", False, "pass", True)
    assert blip.upper_limit < blip.rate


def test_few_requests_are_inconclusive() -> None:
    """Nine requests after a change never pass, though none of them failed."""
    n = [1.0] * 1440 + [9 / WATCH] * WATCH
    judged = _judged(n, [0.0] * len(n))
    assert judged.verdict == "inconclusive"
    assert judged.upper_limit > 0.1


def test_an_incident_before_the_change_never_passes() -> None:
    """A change during an incident is inconclusive, since the baseline shows nothing of what is usual."""
    g = np.random.default_rng(8)
    n = g.poisson(300, 1480).astype(float)
    p = np.where(np.arange(1480) >= 1440 - 200, 0.2, 0.01)
    p[1440:] = 0.01
    x = g.binomial(n.astype(int), p).astype(float)
    past = rule.fit_null(BlockCounts(n[:1440].tolist(), x[:1440].tolist()), WATCH)
    assert past.incident
    assert rule.judge(past, BlockCounts(n[1440:].tolist(), x[1440:].tolist()), WATCH).verdict == "inconclusive"


def test_a_watch_that_is_not_over_says_nothing_good() -> None:
    """A pass needs the whole watch: until then a harmless change is inconclusive."""
    n, x = [300.0] * 1480, [3.0] * 1480
    past = rule.fit_null(BlockCounts(n[:1440], x[:1440]), WATCH)
    for blocks in range(WATCH):
        assert rule.judge(past, BlockCounts(n[:blocks], x[:blocks]), WATCH).verdict == "inconclusive"
    assert rule.judge(past, BlockCounts(n[:WATCH], x[:WATCH]), WATCH).verdict == "pass"


@settings(max_examples=20)
@given(st.floats(1, 100), st.floats(0.5, 500))
def test_evidence_is_an_e_value(mean: float, shape: float) -> None:
    """Without a change the evidence is 1 in the mean, whatever is expected: that is what alpha rests on."""
    total, logs = 0.0, 0.0
    for x in range(int(mean * 12 + 300)):
        logs = (
            math.lgamma(shape + x)
            - math.lgamma(shape)
            - math.lgamma(x + 1)
            + shape * math.log(shape / (shape + mean))
            + x * math.log(mean / (shape + mean))
        )
        total += math.exp(logs + evidence.log_evidence(x, mean, shape))
    assert total <= 1.0001


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.floats(0, 1), st.integers(1, 60)), min_size=2, max_size=30),
    st.integers(16, 60),
)
def test_any_counts_have_a_verdict(stretches: list[tuple[int, float, int]], watch: int) -> None:
    """Whatever was counted, the rule ends with a verdict and finite numbers, and degraded means above the limit."""
    blocks = [(count, share) for count, share, length in stretches for _ in range(length)]
    blocks = [(3, 0.0)] * max(0, watch - len(blocks)) + blocks
    n = [float(count) for count, _ in blocks]
    x = [float(int(count * share)) for count, share in blocks]
    past = rule.fit_null(BlockCounts(n[:-watch], x[:-watch]), watch)
    judged = rule.judge(past, BlockCounts(n[-watch:], x[-watch:]), watch)
    assert math.isfinite(past.rate + past.usual + past.scatter + past.wander + past.bar)
    assert math.isfinite(judged.upper_limit)
    assert past.usual >= 0
    assert past.scatter >= 1
    if judged.verdict == "degraded":
        assert judged.x >= evidence.MIN_BAD_EVENTS
        assert judged.block >= evidence.SETTLING + past.excluded_blocks


def test_the_rule_needs_no_numpy() -> None:
    """The command runs where numpy is not installed."""
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "import opentelemetry.instrumentation.schema.cli.commands.guard\n"
        "from opentelemetry.instrumentation.schema._migrations.guard import evidence, rule\n"
        "print(rule.fit_null(evidence.BlockCounts([9.0] * 999, [0.0] * 999), 40).placebos)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "18\n", done.stderr
