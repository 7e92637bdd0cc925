"""Parses the text of a CHECK constraint, as a model, PostgreSQL, MariaDB or SQLite writes it.

What the parser does not know becomes `Other`, which says nothing. An instrumented application compares its schemas
with its tables too, and need not have the SQL parser that the command line depends on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?:\b(?:[EN]|_\w+)(?=\\?'))?\\?'(?P<text>(?:[^'\\]|''|\\(?!'\s*(?:$|[,)\]:]))[\s\S])*)\\?'
    | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
    | [`"](?P<quoted>[^`"]+)[`"]
    | (?P<word>[A-Za-z_][\w$]*)
    | (?P<sign>::|<=|>=|<>|!=|!~~\*?|!~\*?|!|~~\*?|~\*?|==|\|\||[-+*/%=<>(),.\[\]])
    | (?P<rest>\S))""",
    re.VERBOSE,
)
_COMPARISONS: Final = {"=": "=", "==": "=", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_MATCHES: Final = {
    "~": ("regex", False), "~*": ("iregex", False), "!~": ("regex", True), "!~*": ("iregex", True),
    "~~": ("like", False), "~~*": ("ilike", False), "!~~": ("like", True), "!~~*": ("ilike", True),
    "LIKE": ("like", False), "ILIKE": ("ilike", False), "GLOB": ("glob", False),
    "REGEXP": ("match", False), "RLIKE": ("match", False),
}  # fmt: skip
_CASTS: Final = ("VARYING", "PRECISION", "WITHOUT", "WITH", "TIME", "ZONE", "UNSIGNED")
"""Further words of a type's name after `::`."""
_NOISE: Final = ("BOTH", "FROM")
"""Words inside `TRIM(BOTH FROM a)`."""


@dataclass(frozen=True)
class Column:
    """A column of the table."""

    name: str


@dataclass(frozen=True)
class Call:
    """A function of values."""

    name: str
    arguments: tuple[Value, ...]


@dataclass(frozen=True)
class Other:
    """What we do not know."""


Value = Column | Call | Other | str | float


@dataclass(frozen=True)
class Comparison:
    """Two values and the sign between them: `=`, `<>`, `<`, `<=`, `>`, `>=`."""

    left: Value
    sign: str
    right: Value


@dataclass(frozen=True)
class Among:
    """A value that is one of several."""

    subject: Value
    values: tuple[Value, ...]
    negated: bool


@dataclass(frozen=True)
class Matching:
    """A text that matches a pattern: `regex`, `iregex`, `like`, `ilike`, `glob`, or `match` of MariaDB."""

    subject: Value
    how: str
    pattern: Value
    negated: bool


@dataclass(frozen=True)
class Null:
    """A value that is null."""

    subject: Value
    negated: bool


@dataclass(frozen=True)
class Both:
    """Conditions that must all hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Either:
    """Conditions of which one must hold."""

    parts: tuple[Condition, ...]


Condition = Comparison | Among | Matching | Null | Both | Either | Other

_OPPOSITES: Final = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_MIRRORED: Final = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def negate(condition: Condition) -> Condition:
    """What must hold if a condition must not."""
    if isinstance(condition, Comparison):
        return Comparison(condition.left, _OPPOSITES[condition.sign], condition.right)
    if isinstance(condition, Among):
        return Among(condition.subject, condition.values, not condition.negated)
    if isinstance(condition, Matching):
        return Matching(condition.subject, condition.how, condition.pattern, not condition.negated)
    if isinstance(condition, Null):
        return Null(condition.subject, not condition.negated)
    if isinstance(condition, Both):
        return Either(tuple(map(negate, condition.parts)))
    return Both(tuple(map(negate, condition.parts))) if isinstance(condition, Either) else condition


def parse(text: str) -> Condition:
    """Parse a constraint; `Other` if it is not a condition that we know."""
    try:
        parser = _Parser(text)
        found = parser.either()
        return found if parser.done else Other()
    except (_UnknownError, RecursionError):
        return Other()


class _UnknownError(Exception):
    """The text is not what we know."""


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        for match in _TOKEN.finditer(text.strip()):
            kind = match.lastgroup or "rest"
            self._tokens.append((kind, match[kind]))
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._tokens)

    def _peek(self, ahead: int = 0) -> str:
        """The next word or sign, in capitals; empty for all other tokens."""
        place = self._at + ahead
        kind, text = self._tokens[place] if place < len(self._tokens) else ("", "")
        return text.upper() if kind in ("word", "sign") else ""

    def _take(self, *words: str) -> bool:
        if any(self._peek(ahead) != word for ahead, word in enumerate(words)):
            return False
        self._at += len(words)
        return True

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise _UnknownError

    def either(self) -> Condition:
        parts = [self._both()]
        while self._take("OR"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self) -> Condition:
        parts = [self._not()]
        while self._take("AND"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _not(self) -> Condition:
        return negate(self._not()) if self._take("NOT") or self._take("!") else self._condition()

    def _condition(self) -> Condition:
        start = self._at
        if self._take("("):
            try:
                inner = self.either()
                self._need(")")
                if not self._goes_on():
                    return inner
            except _UnknownError:
                pass
            self._at = start
        left = self._value()
        negated = False
        if self._take("IS"):
            negated = self._take("NOT")
            if self._take("NULL"):
                return Null(left, negated)
            raise _UnknownError
        negated = self._take("NOT")
        word = self._peek()
        if not negated and word in _COMPARISONS:
            self._at += 1
            if self._peek() in ("ANY", "ALL"):
                return self._any(left, _COMPARISONS[word])
            return _turned(left, _COMPARISONS[word], self._value())
        if word in _MATCHES:
            self._at += 1
            how, opposite = _MATCHES[word]
            return Matching(left, how, self._value(), negated != opposite)
        if self._take("IN"):
            self._need("(")
            return Among(left, self._values(")"), negated)
        if self._take("BETWEEN"):
            least = self._value()
            self._need("AND")
            found = Both((_turned(left, ">=", least), _turned(left, "<=", self._value())))
            return negate(found) if negated else found
        if not negated and not self._goes_on():
            return Other()  # a function or a column that is true or false
        raise _UnknownError

    def _goes_on(self) -> bool:
        """Whether what was in parentheses is a part of a longer value or comparison."""
        word = self._peek()
        return bool(word) and word not in (")", "AND", "OR", ",", "]")

    def _any(self, left: Value, sign: str) -> Condition:
        """`a = ANY (ARRAY[…])` and `a <> ALL (ARRAY[…])`, as PostgreSQL writes IN."""
        if (self._peek(), sign) not in (("ANY", "="), ("ALL", "<>")):
            raise _UnknownError
        self._at += 1
        opened = 0
        while self._take("("):
            opened += 1
        self._need("ARRAY")
        self._need("[")
        found = Among(left, self._values("]"), sign == "<>")
        self._cast()
        for _ in range(opened):
            self._need(")")
            self._cast()
        return found

    def _values(self, end: str) -> tuple[Value, ...]:
        found: list[Value] = []
        while not self._take(end):
            if self._peek() in _NOISE:
                self._at += 1
                continue
            found.append(self._value())
            if not self._take(","):
                self._need(end)
                break
        return tuple(found)

    def _value(self) -> Value:
        found = self._primary()
        while self._peek() in ("+", "-", "*", "/", "%", "||"):
            self._at += 1
            self._primary()
            found = Other()
        if self._take("COLLATE"):
            self._at += 1
        return found

    def _primary(self) -> Value:
        if self._peek() in ("-", "+"):
            minus = self._peek() == "-"
            self._at += 1
            found = self._primary()
            return (-found if minus else found) if isinstance(found, float) else Other()
        if self._take("("):
            found = self._value()
            self._need(")")
            return self._cast_of(found)
        if self.done:
            raise _UnknownError
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "text":
            return self._cast_of(re.sub(r"''|\\'", "'", text))
        if kind == "number":
            return self._cast_of(float(text))
        if kind not in ("word", "quoted"):
            raise _UnknownError
        return self._cast_of(self._named(text, kind == "quoted"))

    def _named(self, text: str, quoted: bool) -> Value:
        while self._take("."):
            text = self._tokens[self._at][1] if not self.done else ""
            self._at += 1
        if quoted:
            return Column(text)
        name = text.upper()
        if self._take("("):
            if name == "CAST":
                found = self._value()
                self._need("AS")
                self._type()
                self._need(")")
                return found
            return Call(name, self._values(")"))
        if name in ("DATE", "TIMESTAMP") and not self.done and self._tokens[self._at][0] == "text":
            return self._primary()
        if name in ("AND", "OR", "NOT", "NULL", "IS", "IN", "CASE", "WHEN", "SELECT", "ARRAY", "LIKE", "BETWEEN"):
            raise _UnknownError
        return Column(text)

    def _cast_of(self, found: Value) -> Value:
        self._cast()
        return found

    def _cast(self) -> None:
        while self._take("::"):
            self._type()

    def _type(self) -> None:
        self._at += 1
        while self._take("."):
            self._at += 1
        while self._peek() in _CASTS:
            self._at += 1
        if self._take("("):
            self._values(")")
        while self._peek() in _CASTS:
            self._at += 1
        if self._take("["):
            self._need("]")


def _turned(left: Value, sign: str, right: Value) -> Comparison:
    """A comparison with its literal on the right."""
    if isinstance(left, (str, float)) and not isinstance(right, (str, float)):
        return Comparison(right, _MIRRORED[sign], left)
    return Comparison(left, sign, right)
