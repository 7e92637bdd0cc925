"""How often the comparison of API and database is right: precision and recall, by database and by kind."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa
from opentelemetry.instrumentation.schema._schemas import fit
from opentelemetry.instrumentation.schema._schemas.fit_columns import SYSTEMS, System
from opentelemetry.instrumentation.schema.integrations.pydantic.fields import fields as read_model
from opentelemetry.instrumentation.schema.integrations.sqlalchemy.fields import fields as read_table
from sqlalchemy.dialects import mysql, postgresql, sqlite

from tests.compatibility.fit_pairs import Fit

DIALECTS: dict[System, Any] = {
    "postgresql": postgresql.dialect(),
    "mariadb": mysql.dialect(),
    "sqlite": sqlite.dialect(),
}
Claim = tuple[str, str]
"""Direction and kind."""


def predict(model: Any, table: sa.Table, system: System, dialect: Any = None) -> dict[Claim, str]:
    """What the comparison says of the pair: direction and kind → effect."""
    document = read_model(model)
    columns = next(iter(read_table(table, dialect=dialect or DIALECTS[system]).values()))
    found = fit.compare(next(iter(document.values())), document, columns, system, declared=True)
    mine = [each for each in found if each.field == "a" or each.field == "" or each.kind == "generated-column"]
    return {(each.way, each.kind): each.effect for each in mine}


def observed(facts: dict[str, Any]) -> dict[Claim, str]:
    """What happened. Where the type does not fit, nothing else is said of a value but null."""
    found: dict[Claim, str] = {}
    for way in ("write", "read"):
        kinds = dict(facts[way])
        if "type" in kinds:
            kinds = {kind: kinds[kind] for kind in kinds if kind in ("type", "nullable", "default")}
        found |= {(way, kind): effect for kind, effect in kinds.items()}
    return found


class Score:
    """Counts of one database, or of one kind.

    Attributes:
        hits: Said, and so.
        false: Said, and not so.
        missed: So, and not said.
        effects: Hits that also say what happens: refused, or altered.
    """

    def __init__(self) -> None:
        self.hits = self.false = self.missed = self.effects = 0

    @property
    def precision(self) -> float:
        return self.hits / (self.hits + self.false) if self.hits + self.false else 1.0

    @property
    def recall(self) -> float:
        return self.hits / (self.hits + self.missed) if self.hits + self.missed else 1.0


class Scores:
    """Scores by database and kind, and each claim that was wrong."""

    def __init__(self) -> None:
        self.by: dict[tuple[str, str], Score] = {}
        self.wrong: list[tuple[str, str, str, Claim]] = []
        self.effects: list[tuple[str, str, Claim, str, str]] = []
        self.pairs: Counter[str] = Counter()

    def add(self, system: str, name: str, said: dict[Claim, str], so: dict[Claim, str]) -> None:
        self.pairs[system] += 1
        for claim in {**said, **so}:
            for key in ((system, claim[1]), (system, "total"), ("all", claim[1]), ("all", "total")):
                score = self.by.setdefault(key, Score())
                if claim in said and claim in so:
                    score.hits += 1
                    score.effects += said[claim] == so[claim]
                elif claim in said:
                    score.false += 1
                else:
                    score.missed += 1
            if claim not in said or claim not in so:
                self.wrong.append((system, name, "false" if claim in said else "missed", claim))
            elif said[claim] != so[claim]:
                self.effects.append((system, name, claim, said[claim], so[claim]))

    def table(self) -> list[str]:
        """Rows of Markdown: kinds by database."""
        rows = [
            "| kind | " + " | ".join(f"{each}: precision | recall" for each in (*SYSTEMS, "all")) + " |",
            "|---|" + "---|---|" * 4,
        ]
        kinds = [*sorted({kind for _, kind in self.by} - {"total"}), "total"]
        for kind in kinds:
            cells = []
            for system in (*SYSTEMS, "all"):
                score = self.by.get((system, kind), Score())
                said, so = score.hits + score.false, score.hits + score.missed
                cells += [f"{score.precision:.3f} ({score.hits}/{said})" if said else "-"]
                cells += [f"{score.recall:.3f} ({score.hits}/{so})" if so else "-"]
            rows.append(f"| {kind} | {' | '.join(cells)} |")
        return rows


def score(fits: list[Fit], results: dict[str, dict[str, Any]]) -> Scores:
    """Compare what is said of pairs with what happened."""
    scores = Scores()
    for each in fits:
        model, table = each.build()
        for system in SYSTEMS:
            if system in each.systems:
                scores.add(system, each.name, predict(model, table, system), observed(results[system][each.name]))
    return scores


if __name__ == "__main__":
    import json
    from pathlib import Path

    from tests.compatibility import fit_generated
    from tests.compatibility.fit_pairs import FITS

    written = json.loads(Path(__file__).with_name("fit_results.json").read_text())
    for found in (score(FITS, written), score(*fit_generated.load())):
        for row in (*found.wrong, *found.effects):
            print(*row)
        print(*found.table(), sep="\n")
