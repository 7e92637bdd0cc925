"""What the comparison of API and database says, against what real databases did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.schema._schemas import fit_live
from opentelemetry.instrumentation.schema._schemas.fit import compare
from opentelemetry.instrumentation.schema._schemas.fit_columns import SYSTEMS
from opentelemetry.instrumentation.schema.integrations.pydantic.fields import fields as read_model
from opentelemetry.instrumentation.schema.integrations.sqlalchemy.fields import fields as read_table
from opentelemetry.instrumentation.schema.integrations.sqlalchemy.fields import reflected

from tests.compatibility import fit_generated
from tests.compatibility.fit_pairs import FITS, LATER, UNSEEN, Fit
from tests.compatibility.fit_score import Scores, observed, predict, score
from tests.compatibility.fit_truth import RESULTS, try_fits
from tests.databases import Server

DOCS = Path(__file__).parents[2] / "docs" / "mismatches.md"
WRITTEN: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())
GENERATED = fit_generated.load()
LEAST = 0.98

RETRIED = 11
"""Every eleventh pair is tried again with each change; at night all of them are."""


@pytest.fixture
def engines(postgresql: Server, mariadb: Server) -> Iterator[dict[str, Any]]:
    urls = (postgresql.fresh(), mariadb.fresh(), "sqlite://")
    found = {system: sa.create_engine(url) for system, url in zip(SYSTEMS, urls, strict=True)}
    yield found
    for each in found.values():
        each.dispose()


def test_there_are_enough_fits() -> None:
    """Some 150 pairs are written down for each database, and hypothesis made a third of all but the later ones."""
    for system in SYSTEMS:
        assert sum(system in each.systems for each in FITS) >= 150
    assert len({each.name for each in FITS}) == len(FITS)
    assert len(GENERATED[0]) * 2 >= len(FITS) - len(LATER) - len(UNSEEN)


@pytest.mark.parametrize(("name", "scores"), [("written", score(FITS, WRITTEN)), ("generated", score(*GENERATED))])
def test_precision_and_recall(name: str, scores: Scores) -> None:
    """On each database at least 98 % of what is said is so, and at least 98 % of what is so is said."""
    for system in (*SYSTEMS, "all"):
        total = scores.by[system, "total"]
        assert total.precision >= LEAST, [each for each in scores.wrong if each[2] == "false"]
        assert total.recall >= LEAST, [each for each in scores.wrong if each[2] == "missed"]


def test_what_happens_is_said_too() -> None:
    """Whether the database refuses a value or alters it is said rightly in 98 of 100 cases."""
    for scores in (score(FITS, WRITTEN), score(*GENERATED)):
        total = scores.by["all", "total"]
        assert total.effects / total.hits >= LEAST, scores.effects


def test_docs_hold_the_scores() -> None:
    """docs/mismatches.md holds the tables of precision and recall, figure by figure."""
    text = DOCS.read_text()
    for scores in (score(FITS, WRITTEN), score(*GENERATED)):
        assert "\n".join(scores.table()) in text


def _again(fits: list[Fit], results: dict[str, dict[str, Any]], by: dict[str, Any]) -> None:
    for system, found in try_fits(fits, by).items():
        for name, facts in found.items():
            known = results[system][name]
            assert observed(json.loads(json.dumps(facts))) == observed(known), f"{name} on {system}: {facts['values']}"


def test_databases_still_do_so(engines: dict[str, Any]) -> None:
    """An eleventh of the pairs, tried on the databases again, gives what was written down."""
    _again(FITS[::RETRIED], WRITTEN, engines)


@pytest.mark.nightly
def test_databases_still_do_all_of_it(engines: dict[str, Any]) -> None:
    """All pairs, tried on the databases again, give what was written down."""
    _again(FITS, WRITTEN, engines)
    _again(*GENERATED, engines)


def _live_claims(model: Any, table: Any, engine: Any, system: Any) -> dict[Any, str]:
    """What is said with the table as the database has it."""
    document = read_model(model)
    with engine.connect() as connection:
        table.metadata.create_all(connection)
        live = next(iter(reflected(connection).values()))
        table.metadata.drop_all(connection)
        both = fit_live.merge_tables(next(iter(read_table(table, dialect=engine.dialect).values())), live)
    found = compare(next(iter(document.values())), document, both, system, declared=True)
    mine = [each for each in found if each.field in ("a", "") or each.kind == "generated-column"]
    return {(each.way, each.kind): each.effect for each in mine}


LIVE_KNOWS_MORE = {
    ("sqlite", "Literal['red', 'green', 'blue'] in CHECKed texts"),  # the CHECK of the type itself
    ("sqlite", "Literal['red', 'green'] in CHECKed texts"),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_live_database_says_the_same(system: Any, engines: dict[str, Any]) -> None:
    """Compared with the table as the database has it, the same is said as with the model's own table."""
    engine = engines[system]
    for each in FITS[:: 3 if system == "sqlite" else RETRIED]:
        if system in each.systems and (system, each.name) not in LIVE_KNOWS_MORE:
            model, table = each.build()
            live = _live_claims(model, table, engine, system)
            assert live.keys() == predict(model, table, system).keys(), each.name


@pytest.mark.nightly
@pytest.mark.parametrize("system", SYSTEMS)
def test_live_databases_say_all_the_same(system: Any, engines: dict[str, Any]) -> None:
    """The same for every pair."""
    engine = engines[system]
    wrong = {}
    for each in FITS:
        if system in each.systems and (system, each.name) not in LIVE_KNOWS_MORE:
            model, table = each.build()
            live, known = _live_claims(model, table, engine, system), predict(model, table, system)
            if live.keys() != known.keys():
                wrong[each.name] = (live.keys() - known.keys(), known.keys() - live.keys())
    assert not wrong
