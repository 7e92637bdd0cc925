"""Text that becomes an attribute: bounded, valid Unicode, printable, whatever it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema.text import MAX_TEXT, UNPRINTABLE, class_name, clean, exact

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=3 * MAX_TEXT)  # lone surrogates, too


@given(ANY_TEXT)
def test_clean(text: str) -> None:
    """What comes out has at most 200 printable characters, is UTF-8, and stays as it is when cleaned again."""
    found = clean(text)
    assert len(found) <= MAX_TEXT
    assert found.isprintable()
    found.encode()
    assert clean(found) == found


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=MAX_TEXT))
def test_what_is_fit_is_left_alone(text: str) -> None:
    """Printable text that is short enough is the same object."""
    assert clean(text) is text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ud800", UNPRINTABLE),
        ("a\x1b[31mb", f"a{UNPRINTABLE}[31mb"),
        ("a\x9bb\x07", f"a{UNPRINTABLE}b{UNPRINTABLE}"),
        ("a\nb\tc\u2028d\u00a0e", "a b c d e"),
        ("a\u202eb", f"a{UNPRINTABLE}b"),
        ("", ""),
        ("é" * MAX_TEXT, "é" * MAX_TEXT),
    ],
)
def test_examples(text: str, expected: str) -> None:
    """Surrogates, control sequences and what turns text around are replaced; any space becomes the plain one."""
    assert clean(text) == expected


def test_what_is_cut_keeps_apart() -> None:
    """Two long texts with the same beginning stay two, by a hash of the whole; the same text is always cut the same."""
    first, second = clean("x" * 5_000_000), clean("x" * 4_999_999 + "y")
    assert first != second
    assert first.startswith("x" * 191 + "~")
    assert len(first) == MAX_TEXT
    assert first == clean("x" * 5_000_000)


class Liar(str):
    """Text that answers to nothing."""

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError

    __str__ = __len__ = __eq__ = __hash__ = __iter__ = __getitem__ = __format__ = isprintable = encode = _refuse


def test_a_subclass_is_not_asked() -> None:
    """Text of a subclass comes out as plain text; what is no text at all is the replacement character."""
    assert type(clean(Liar("secret"))) is str
    assert clean(Liar("name")) == "name"
    assert exact(Liar("name")) == "name"
    assert exact(5) is None
    assert clean(None) == UNPRINTABLE  # type: ignore[arg-type]


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)


def test_a_class_has_the_name_that_python_gave_it() -> None:
    """Neither an object nor its metaclass is asked for the name of a class."""

    class Hostile(Exception, metaclass=Meta):
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    assert class_name(Hostile()).endswith("<locals>.Hostile")
    assert class_name(1) == "int"
