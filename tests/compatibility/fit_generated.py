"""Pairs that hypothesis makes up, tried on the databases after the comparison was written: to see what it misses.

`python -m tests.compatibility.fit_generated` makes them anew, with what the databases did.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.compatibility.fit_pairs import Fit
from tests.compatibility.fit_truth import dumps, engines, try_fits

RESULTS = Path(__file__).with_name("fit_generated.json")
NUMBER = 120

_Part = tuple[str, str, tuple[str, ...]]
"""Family, text, values at its bounds."""


def _around(number: int) -> tuple[str, ...]:
    return tuple(str(number + each) for each in (-1, 0, 1))


@st.composite
def _ranged(draw: Any, name: str) -> _Part:
    low = draw(st.one_of(st.none(), st.integers(-(2**40), 0), st.sampled_from([0, 1, -128, -32768, -(2**31)])))
    high = draw(st.one_of(st.none(), st.integers(1, 2**40), st.sampled_from([9, 127, 255, 32767, 65535, 2**31 - 1])))
    bounds = [f"ge={low}"] * (low is not None) + [f"le={high}"] * (high is not None)
    values = (*(_around(low) if low is not None else ()), *(_around(high) if high is not None else ()))
    if name == "float":
        values = tuple(f"float({each})" for each in values)
    return name, f"Annotated[{name}, Field({', '.join(bounds)})]" if bounds else name, values


@st.composite
def _text(draw: Any, name: str = "str") -> _Part:
    high = draw(st.one_of(st.none(), st.integers(1, 400)))
    low = draw(st.one_of(st.none(), st.integers(1, high or 20)))
    bounds = [f"min_length={low}"] * (low is not None) + [f"max_length={high}"] * (high is not None)
    letter = "b'y'" if name == "bytes" else "'y'"
    sizes = [each for each in (low, high) if each is not None]
    values = tuple(f"{letter} * {size + change}" for size in sizes for change in (-1, 0, 1))
    if high is not None and name == "str":
        values += (f"'😀' * {high}",)
    return name, f"Annotated[{name}, Field({', '.join(bounds)})]" if bounds else name, values


def _digits(digits: int, places: int) -> tuple[str, ...]:
    whole = digits - places
    texts = [f"{'9' * whole or '0'}.{'9' * places}" if places else "9" * whole, f"1{'0' * whole}", f"0.{'0' * places}1"]
    texts += [
        f"{'9' * max(whole - 1, 0) or '0'}.{'9' * places}",
        f"-{'9' * whole or '0'}",
        "9" * digits,
        "9" * whole or "0",
    ]
    return tuple(f"Decimal('{each}')" for each in texts)


@st.composite
def _decimal(draw: Any) -> _Part:
    digits = draw(st.one_of(st.none(), st.integers(1, 14)))
    places = draw(st.one_of(st.none(), st.integers(0, min(digits or 6, 6))))
    bounds = [f"max_digits={digits}"] * (digits is not None) + [f"decimal_places={places}"] * (places is not None)
    values = _digits(digits or 12, places or 0)
    return "decimal", f"Annotated[Decimal, Field({', '.join(bounds)})]" if bounds else "Decimal", values


@st.composite
def _literal(draw: Any) -> _Part:
    words = draw(st.lists(st.text("abcxyz", min_size=1, max_size=12), min_size=1, max_size=4, unique=True))
    return "literal", f"Literal[{', '.join(repr(each) for each in words)}]", tuple(repr(each) for each in words)


def _plain(*names: str) -> st.SearchStrategy[_Part]:
    return st.sampled_from([(name, name, ()) for name in names])


FIELDS = st.one_of(
    _ranged("int"),
    _ranged("int"),
    _ranged("float"),
    _text(),
    _text(),
    _text("bytes"),
    _decimal(),
    _decimal(),
    _literal(),
    _plain(
        "bool",
        "date",
        "datetime",
        "AwareDatetime",
        "NaiveDatetime",
        "time",
        "UUID4",
        "Color",
        "Size",
        "list[int]",
        "dict[str, int]",
        "timedelta",
    ),
)


@st.composite
def _column_text(draw: Any) -> _Part:
    length = draw(st.integers(1, 400))
    name = draw(st.sampled_from(["String", "CHAR", "Unicode"]))
    length = min(length, 250) if name == "CHAR" else length
    return "text", f"{name}({length})", tuple(f"'z' * {length + each}" for each in (-1, 0, 1))


@st.composite
def _column_decimal(draw: Any) -> _Part:
    digits = draw(st.integers(1, 14))
    places = draw(st.integers(0, min(digits, 6)))
    return "decimal", f"Numeric({digits}, {places})", _digits(digits, places)


@st.composite
def _column_enum(draw: Any) -> _Part:
    words = draw(st.lists(st.text("abcxyz", min_size=1, max_size=12), min_size=1, max_size=4, unique=True))
    return "enum", f"sa.Enum({', '.join(map(repr, words))}, name='e')", tuple(repr(each) for each in words)


TEXTS = st.one_of(_column_text(), _column_text(), _plain("Text"))
NUMBERS = st.one_of(_plain("SmallInteger", "Integer", "BigInteger", "Float", "Double", "REAL"), _column_decimal())
LIKELY = {
    "int": NUMBERS,
    "float": NUMBERS,
    "decimal": st.one_of(_column_decimal(), _column_decimal(), _plain("Numeric", "Integer", "Double")),
    "str": TEXTS,
    "literal": st.one_of(TEXTS, _column_enum()),
    "bytes": _plain("LargeBinary", "LargeBinary(5)", "LargeBinary(300)"),
    "bool": _plain("Boolean", "Integer"),
    "date": _plain("Date", "DateTime"),
    "time": _plain("Time"),
    "datetime": _plain("DateTime", "DateTime(timezone=True)", "TIMESTAMP", "Date"),
    "AwareDatetime": _plain("DateTime", "DateTime(timezone=True)"),
    "NaiveDatetime": _plain("DateTime", "DateTime(timezone=True)", "Date"),
    "UUID4": _plain("Uuid", "String(36)", "String(32)"),
    "Color": st.one_of(_plain("sa.Enum(Color)"), TEXTS),
    "Size": _plain("sa.Enum(Size)", "String(10)"),
    "list[int]": _plain("JSON"),
    "dict[str, int]": _plain("JSON", "Text"),
    "timedelta": _plain("Interval"),
}
ANY = st.one_of(
    TEXTS, NUMBERS, _plain("Boolean", "Date", "DateTime", "Time", "Uuid", "JSON", "LargeBinary", "Interval")
)


@st.composite
def pairs(draw: Any) -> Fit:
    """A field, and most often a column that somebody could have meant for it."""
    family, field, mine = draw(FIELDS)
    _, column, theirs = draw(LIKELY[family]) if draw(st.integers(0, 9)) < 8 else draw(ANY)
    optional = draw(st.integers(0, 3)) == 0
    nullable = draw(st.integers(0, 3)) == 0
    return Fit(
        "",
        f"a: {field}{' | None' if optional else ''}",
        f"{column}, nullable={nullable}",
        values=tuple(dict.fromkeys((*mine, *theirs))),
    )


def generated(number: int, seed: int) -> list[Fit]:
    """Pairs that differ from each other, the same ones for a seed."""
    found: dict[tuple[str, str | None], Fit] = {}

    @seeded(seed)
    @settings(
        max_examples=number * 8,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(pairs())
    def collect(fit: Fit) -> None:
        found.setdefault((fit.field, fit.column), fit)

    collect()
    fits = [fit._replace(name=f"{fit.field} in {fit.column}") for fit in found.values()]
    random.Random(seed).shuffle(fits)  # neighbours are alike
    return fits[:number]


def load() -> tuple[list[Fit], dict[str, Any]]:
    """The pairs that were generated, and what happened."""
    data = json.loads(RESULTS.read_text())
    return [Fit(*each[:4], tuple(each[4]), tuple(each[5])) for each in data["pairs"]], data["results"]


if __name__ == "__main__":
    fits = generated(NUMBER, int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    with engines() as each:
        results = try_fits(fits, each)
    lines = ",\n".join(f"  {json.dumps(fit)}" for fit in fits)
    RESULTS.write_text(f'{{"pairs": [\n{lines}\n],\n"results": {dumps(results)}}}\n')
