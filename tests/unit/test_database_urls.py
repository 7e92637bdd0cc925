"""URLs of databases: which database they name, how they are opened, and that no password is printed."""

from __future__ import annotations

import pytest
from opentelemetry.instrumentation.schema._migrations.database import parse
from opentelemetry.instrumentation.schema._migrations.errors import MigrationError

pytest.importorskip("pymysql")


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        ("postgresql://u:p@host/x", "postgresql://host:5432/x"),
        ("postgresql://u:p%40s%2Fs@[::1]:5433/x", "postgresql://[::1]:5433/x"),
        ("postgresql:///x?host=/run/pg&port=5433", "postgresql:///run/pg:5433/x"),
        ("postgresql:///x?host=a&host=b", "postgresql://a,b:5432/x"),
        ("mysql+pymysql://u@localhost/x?unix_socket=/run/my.sock", "mysql:///run/my.sock/x"),
        ("mysql://u@/x?socket=/run/my.sock", "mysql:///run/my.sock/x"),
        ("mysql://u:p@host:3307/x?charset=utf8mb4", "mysql://host:3307/x"),
    ],
)
def test_identity(url: str, identity: str) -> None:
    """Two servers of one host, or of one directory of sockets, are two databases; user and password are left out."""
    assert parse(url).identity == identity


@pytest.mark.parametrize("url", ["postgresql://u:s3cr@t@host:5432/x", "mysql://u:s3cr@t@host/x"])
def test_a_password_with_an_at(url: str) -> None:
    """The rest of such a password would be taken for the host and be printed; the message says how to write it."""
    with pytest.raises(MigrationError, match="write it as %40") as raised:
        parse(url)
    assert "t@host" not in str(raised.value)
    assert "s3cr" not in str(raised.value)


def test_parameters_of_dbmate() -> None:
    """`search_path` becomes a setting of the session, and `socket` the word of Python's drivers."""
    found = parse("postgres://u@host/x?sslmode=disable&search_path=one,%20two&options=-c%20a%3Db").url.query
    assert dict(found) == {"sslmode": "disable", "options": "-c a=b -c search_path=one,two"}
    assert dict(parse("mysql://u@/x?socket=/run/my.sock&tls=false").url.query) == {"unix_socket": "/run/my.sock"}
