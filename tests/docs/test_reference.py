"""The reference's pages say what the code says."""

from __future__ import annotations

import pytest

from tests.docs.reference import REFERENCE, pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_page_is_as_written(name: str) -> None:
    """The page is what `make docs-pages` writes."""
    assert (REFERENCE / name).read_text() == pages()[name], "run `make docs-pages`"
