"""Fields of models and the columns that hold them, as text: what the comparison of API and database is measured on.

They are written down, and tried on real databases (`fit_truth`), before the comparison is looked at.
"""

from __future__ import annotations

import sys
import textwrap
from types import ModuleType
from typing import Any, NamedTuple

SYSTEMS = ("postgresql", "mariadb", "sqlite")

PRELUDE = """
import datetime as dt
import enum
import ipaddress
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional, Union
from pydantic import *
from pydantic import BaseModel
import sqlalchemy as sa
from sqlalchemy import *
from sqlalchemy import types
from sqlalchemy.dialects import mysql, postgresql as pg, sqlite

class Color(str, enum.Enum):
    RED = "red"
    GREEN = "green"

class Size(enum.Enum):
    S = "small"
    L = "large"

class Plain(str, enum.Enum):
    a = "a"
    b = "b"

class Level(enum.IntEnum):
    low = 1
    high = 300

class Inner(BaseModel):
    x: int
"""


class Fit(NamedTuple):
    """A model and a table.

    Attributes:
        name: What is tried.
        field: Body of the model; `a` is the field that is looked at.
        column: Arguments of the column `a` after its name; None where there is no such column.
        more: Further columns.
        systems: Where the column exists.
        values: Further values to try, as Python text.
    """

    name: str
    field: str
    column: str | None
    more: str = ""
    systems: tuple[str, ...] = SYSTEMS
    values: tuple[str, ...] = ()

    def own_values(self) -> tuple[Any, ...]:
        """The further values."""
        module = vars(ModuleType("values"))
        exec(PRELUDE, module)
        return tuple(eval(each, module) for each in self.values)

    def build(self) -> tuple[Any, Any]:
        """The model and the table."""
        module = ModuleType("app_of_a_fit")
        sys.modules[module.__name__] = module  # where Pydantic looks names up
        text = f"class Model(BaseModel):\n{textwrap.indent(textwrap.dedent(self.field), '    ')}\n"
        columns = [f'Column("a", {self.column})'] if self.column is not None else []
        columns += [self.more] if self.more else []
        text += f'table = Table("fits", MetaData(), Column("pk", Integer, primary_key=True), {", ".join(columns)})\n'
        exec(compile(PRELUDE + text, f"<{self.name}>", "exec", dont_inherit=True), vars(module))
        return module.Model, module.table


def _each(field: str, columns: dict[str, str], label: str = "") -> list[Fit]:
    return [
        Fit(f"{label or field} in {name}", f"a: {field}", f"{column}, nullable=False")
        for name, column in columns.items()
    ]


NULLS = [
    Fit("optional in not null", "a: int | None", "Integer, nullable=False"),
    Fit("optional in null", "a: int | None", "Integer, nullable=True"),
    Fit("required in null", "a: int", "Integer, nullable=True"),
    Fit("required in not null", "a: bool", "Boolean, nullable=False"),
    Fit("optional text in not null", "a: str | None = None", "Text, nullable=False"),
    Fit("optional text in null", "a: str | None = None", "Text, nullable=True"),
    Fit(
        "null in a not null column with a server default",
        "a: bool | None = None",
        "Boolean, server_default=text('1=1'), nullable=False",
        systems=("postgresql", "sqlite"),
    ),
    Fit("null in a not null column with a default", "a: int | None = None", "Integer, default=3, nullable=False"),
    Fit("optional bool in null", "a: Optional[bool]", "Boolean, nullable=True"),
    Fit("optional json in null", "a: dict[str, int] | None", "JSON(none_as_null=True), nullable=True"),
]
LENGTHS = [
    *_each("str", {"VARCHAR(5)": "String(5)", "VARCHAR(300)": "String(300)", "TEXT": "Text", "CHAR(5)": "CHAR(5)"}),
    *_each(
        "Annotated[str, Field(max_length=5)]",
        {"VARCHAR(5)": "String(5)", "VARCHAR(4)": "String(4)", "VARCHAR(50)": "String(50)", "TEXT": "Text"},
        "5 characters",
    ),
    *_each(
        "Annotated[str, Field(min_length=5, max_length=5)]",
        {"CHAR(5)": "CHAR(5)", "VARCHAR(5)": "String(5)"},
        "exactly 5",
    ),
    *_each("Annotated[str, Field(min_length=1)]", {"VARCHAR(5)": "String(5)", "TEXT": "Text"}, "at least 1"),
    *_each("constr(max_length=254)", {"VARCHAR(255)": "String(255)", "VARCHAR(200)": "Unicode(200)"}, "254 characters"),
    *_each(
        "Annotated[str, Field(max_length=100000)]", {"TEXT": "Text", "UnicodeText": "UnicodeText"}, "100000 characters"
    ),
    *_each("bytes", {"VARBINARY": "LargeBinary", "LargeBinary(5)": "LargeBinary(5)"}),
    *_each(
        "Annotated[bytes, Field(max_length=5)]",
        {"LargeBinary": "LargeBinary", "LargeBinary(4)": "LargeBinary(4)"},
        "5 bytes",
    ),
    *_each("UUID4", {"VARCHAR(36)": "String(36)", "Uuid": "Uuid", "VARCHAR(32)": "String(32)"}),
    Fit("LONGTEXT", "a: str", "mysql.LONGTEXT, nullable=False", systems=("mariadb",)),
    Fit("TINYTEXT", "a: Annotated[str, Field(max_length=300)]", "mysql.TINYTEXT, nullable=False", systems=("mariadb",)),
    Fit(
        "255 in TINYTEXT",
        "a: Annotated[str, Field(max_length=60)]",
        "mysql.TINYTEXT, nullable=False",
        systems=("mariadb",),
    ),
    Fit("VARBINARY(4)", "a: bytes", "VARBINARY(4), nullable=False", systems=("mariadb",)),
]
RANGES = [
    *_each(
        "int",
        {
            "INTEGER": "Integer",
            "BIGINT": "BigInteger",
            "SMALLINT": "SmallInteger",
            "NUMERIC(30,0)": "Numeric(30, 0)",
            "NUMERIC(5,0)": "Numeric(5, 0)",
        },
    ),
    *_each(
        "Annotated[int, Field(ge=0, le=100)]",
        {
            "INTEGER": "Integer",
            "SMALLINT": "SmallInteger",
            "NUMERIC(3,0)": "Numeric(3, 0)",
            "NUMERIC(2,0)": "Numeric(2, 0)",
        },
        "0 to 100",
    ),
    *_each(
        "Annotated[int, Field(ge=0, lt=2**31)]", {"INTEGER": "Integer", "SMALLINT": "SmallInteger"}, "up to 2**31 - 1"
    ),
    *_each("Annotated[int, Field(ge=0, le=2**31)]", {"INTEGER": "Integer", "BIGINT": "BigInteger"}, "up to 2**31"),
    *_each("Annotated[int, Field(gt=-32769)]", {"SMALLINT": "SmallInteger"}, "from -32768"),
    *_each("Annotated[int, Field(ge=-(2**63), lt=2**63)]", {"BIGINT": "BigInteger"}, "64 bits"),
    *_each("PositiveInt", {"INTEGER": "Integer", "BIGINT": "BigInteger"}),
    *_each("Literal[1, 2, 3]", {"SMALLINT": "SmallInteger", "INTEGER": "Integer"}),
    *_each("Literal[1, 100000]", {"SMALLINT": "SmallInteger", "INTEGER": "Integer"}),
    *_each("Level", {"SMALLINT": "SmallInteger", "INTEGER": "Integer"}, "IntEnum"),
    *_each("bool", {"BOOLEAN": "Boolean", "INTEGER": "Integer", "SMALLINT": "SmallInteger"}),
    Fit("TINYINT", "a: Annotated[int, Field(ge=0, le=200)]", "mysql.TINYINT, nullable=False", systems=("mariadb",)),
    Fit(
        "TINYINT UNSIGNED",
        "a: Annotated[int, Field(ge=0, le=200)]",
        "mysql.TINYINT(unsigned=True), nullable=False",
        systems=("mariadb",),
    ),
    Fit(
        "MEDIUMINT",
        "a: Annotated[int, Field(ge=0, le=10000000)]",
        "mysql.MEDIUMINT, nullable=False",
        systems=("mariadb",),
    ),
    Fit(
        "INTEGER UNSIGNED",
        "a: Annotated[int, Field(ge=0, le=4000000000)]",
        "mysql.INTEGER(unsigned=True), nullable=False",
        systems=("mariadb",),
    ),
    Fit(
        "negative in INTEGER UNSIGNED",
        "a: Annotated[int, Field(ge=-5, le=5)]",
        "mysql.INTEGER(unsigned=True), nullable=False",
        systems=("mariadb",),
    ),
    Fit("BIGINT UNSIGNED", "a: NonNegativeInt", "mysql.BIGINT(unsigned=True), nullable=False", systems=("mariadb",)),
    Fit("date in DATE", "a: date", "Date, nullable=False"),
    Fit(
        "datetime in TIMESTAMP of MySQL",
        "a: NaiveDatetime",
        "mysql.TIMESTAMP(fsp=6), nullable=False",
        systems=("mariadb",),
    ),
]
PRECISIONS = [
    *_each(
        "Decimal",
        {
            "NUMERIC(10,2)": "Numeric(10, 2)",
            "NUMERIC": "Numeric",
            "NUMERIC(5,2)": "Numeric(5, 2)",
            "INTEGER": "Integer",
            "FLOAT": "Float",
        },
    ),
    *_each(
        "Annotated[Decimal, Field(max_digits=5, decimal_places=2)]",
        {
            "NUMERIC(5,2)": "Numeric(5, 2)",
            "NUMERIC(5,1)": "Numeric(5, 1)",
            "NUMERIC(4,2)": "Numeric(4, 2)",
            "NUMERIC(12,4)": "Numeric(12, 4)",
            "NUMERIC": "Numeric",
            "INTEGER": "Integer",
        },
        "5,2 digits",
    ),
    *_each(
        "Annotated[Decimal, Field(decimal_places=2)]",
        {"NUMERIC(12,2)": "Numeric(12, 2)", "NUMERIC(12,1)": "Numeric(12, 1)"},
        "2 places",
    ),
    *_each(
        "Annotated[Decimal, Field(max_digits=6)]",
        {"NUMERIC(6,2)": "Numeric(6, 2)", "NUMERIC(12,6)": "Numeric(12, 6)"},
        "6 digits",
    ),
    *_each(
        "Annotated[Decimal, Field(ge=0, le=1, decimal_places=4)]",
        {"NUMERIC(5,4)": "Numeric(5, 4)", "NUMERIC(3,2)": "Numeric(3, 2)", "NUMERIC(4,4)": "Numeric(4, 4)"},
        "0 to 1, 4 places",
    ),
    *_each(
        "float",
        {"FLOAT": "Float", "DOUBLE": "Double", "REAL": "REAL", "INTEGER": "Integer", "NUMERIC(10,2)": "Numeric(10, 2)"},
    ),
    *_each("FiniteFloat", {"FLOAT": "Float", "DOUBLE": "Double", "NUMERIC(20,4)": "Numeric(20, 4)"}),
    *_each(
        "Annotated[float, Field(ge=0, le=1)]",
        {"FLOAT": "Float", "DOUBLE": "Double", "INTEGER": "Integer", "NUMERIC(3,2)": "Numeric(3, 2)"},
        "0 to 1",
    ),
    *_each("int", {"FLOAT": "Float", "DOUBLE": "Double"}),
    *_each("Annotated[int, Field(ge=0, le=1000)]", {"FLOAT": "Float", "DOUBLE": "Double"}, "0 to 1000"),
    *_each("NaiveDatetime", {"DATETIME": "DateTime"}),
    Fit("DATETIME(6)", "a: NaiveDatetime", "mysql.DATETIME(fsp=6), nullable=False", systems=("mariadb",)),
    Fit("DATETIME(3)", "a: NaiveDatetime", "mysql.DATETIME(fsp=3), nullable=False", systems=("mariadb",)),
    Fit("TIMESTAMP(0)", "a: NaiveDatetime", "pg.TIMESTAMP(precision=0), nullable=False", systems=("postgresql",)),
    Fit(
        "TIMESTAMPTZ(3)",
        "a: AwareDatetime",
        "pg.TIMESTAMP(timezone=True, precision=3), nullable=False",
        systems=("postgresql",),
    ),
    *_each("time", {"TIME": "Time"}),
    Fit("TIME(6)", "a: time", "mysql.TIME(fsp=6), nullable=False", systems=("mariadb",)),
    *_each("timedelta", {"Interval": "Interval"}),
]
TIMEZONES = [
    *_each("datetime", {"DATETIME": "DateTime", "DATETIME with zone": "DateTime(timezone=True)"}),
    *_each("AwareDatetime", {"DATETIME": "DateTime", "DATETIME with zone": "DateTime(timezone=True)"}),
    *_each("NaiveDatetime", {"DATETIME with zone": "DateTime(timezone=True)"}),
    *_each("date", {"DATETIME": "DateTime"}),
    *_each("NaiveDatetime", {"DATE": "Date"}),
    *_each("datetime", {"DATE": "Date"}),
    *_each("PastDatetime", {"DATETIME with zone": "DateTime(timezone=True)"}),
    *_each("AwareDatetime", {"TIMESTAMP": "TIMESTAMP", "VARCHAR(50)": "String(50)"}),
]
ENUMS = [
    *_each(
        "Color",
        {
            "Enum(Color)": "sa.Enum(Color)",
            "its values": "sa.Enum(Color, values_callable=lambda e: [x.value for x in e], name='color')",
            "VARCHAR(5)": "String(5)",
            "VARCHAR(4)": "String(4)",
            "CHECKed VARCHAR": "sa.Enum(Color, native_enum=False)",
        },
    ),
    *_each("Size", {"Enum(Size)": "sa.Enum(Size)", "VARCHAR(10)": "String(10)"}),
    *_each("Literal['small', 'large']", {"Enum(Size)": "sa.Enum(Size)"}),
    *_each("Literal['S', 'L']", {"Enum(Size)": "sa.Enum(Size)"}),
    *_each("Plain", {"Enum(Plain)": "sa.Enum(Plain)"}),
    *_each(
        "Literal['red', 'green']",
        {
            "Enum of texts": "sa.Enum('red', 'green', name='c')",
            "more labels": "sa.Enum('red', 'green', 'blue', name='c')",
            "fewer labels": "sa.Enum('red', name='c')",
            "Enum(Color)": "sa.Enum(Color)",
            "VARCHAR(5)": "String(5)",
            "VARCHAR(3)": "String(3)",
            "TEXT": "Text",
        },
    ),
    *_each(
        "Literal['a', 'b']",
        {"Enum(Plain)": "sa.Enum(Plain)", "strict labels": "sa.Enum('a', name='c', validate_strings=True)"},
    ),
    *_each("str", {"Enum of texts": "sa.Enum('red', 'green', name='c')"}),
    *_each("Annotated[str, Field(max_length=3)]", {"Enum of texts": "sa.Enum('red', 'tan', name='c')"}, "3 characters"),
    *_each(
        "Literal['red', 'green', 'blue']",
        {"CHECKed texts": "sa.Enum('red', 'green', name='c', native_enum=False, create_constraint=True)"},
    ),
    *_each(
        "Literal['red', 'green']",
        {"CHECKed texts": "sa.Enum('red', 'green', name='c', native_enum=False, create_constraint=True)"},
    ),
]
CHECKS = [
    Fit(
        "int in a CHECK of a range",
        "a: Annotated[int, Field(ge=0, le=100)]",
        "Integer, CheckConstraint('a >= 1 AND a <= 50'), nullable=False",
    ),
    Fit(
        "int inside a CHECK",
        "a: Annotated[int, Field(ge=1, le=50)]",
        "Integer, CheckConstraint('a >= 0 AND a <= 100'), nullable=False",
    ),
    Fit(
        "literal in a CHECK of texts",
        "a: Literal['red', 'green', 'blue']",
        "String(10), CheckConstraint(\"a IN ('red', 'green')\"), nullable=False",
    ),
    Fit(
        "literal inside a CHECK of texts",
        "a: Literal['red', 'green']",
        "String(10), CheckConstraint(\"a IN ('red', 'green')\"), nullable=False",
    ),
    Fit(
        "int in a CHECK BETWEEN",
        "a: Annotated[int, Field(ge=0, le=10)]",
        "Integer, CheckConstraint('a BETWEEN 0 AND 5'), nullable=False",
    ),
    Fit(
        "decimal in a CHECK",
        "a: Annotated[Decimal, Field(ge=-1, le=99, max_digits=4, decimal_places=2)]",
        "Numeric(6, 2), CheckConstraint('a > 0'), nullable=False",
    ),
]
TYPES = [
    *_each(
        "str",
        {
            "INTEGER": "Integer",
            "BOOLEAN": "Boolean",
            "DATE": "Date",
            "DATETIME": "DateTime",
            "JSON": "JSON",
            "Uuid": "Uuid",
            "LargeBinary": "LargeBinary",
        },
    ),
    *_each(
        "Annotated[int, Field(ge=0, le=9)]",
        {"VARCHAR(5)": "String(5)", "TEXT": "Text", "BOOLEAN": "Boolean", "JSON": "JSON"},
        "0 to 9",
    ),
    *_each("bool", {"VARCHAR(5)": "String(5)", "JSON": "JSON"}),
    *_each("Annotated[float, Field(ge=0, le=1)]", {"VARCHAR(30)": "String(30)", "JSON": "JSON"}, "0 to 1"),
    *_each(
        "Annotated[Decimal, Field(max_digits=5, decimal_places=2)]",
        {"VARCHAR(30)": "String(30)", "JSON": "JSON"},
        "5,2 digits",
    ),
    *_each("UUID4", {"JSON": "JSON", "LargeBinary": "LargeBinary", "TEXT": "Text"}),
    *_each("date", {"VARCHAR(30)": "String(30)", "JSON": "JSON"}),
    *_each("NaiveDatetime", {"VARCHAR(30)": "String(30)", "JSON": "JSON"}),
    *_each("list[int]", {"JSON": "JSON", "TEXT": "Text"}),
    *_each("dict[str, int]", {"JSON": "JSON", "TEXT": "Text", "VARCHAR(50)": "String(50)"}),
    *_each("Inner", {"JSON": "JSON"}),
    *_each("list[date]", {"JSON": "JSON"}),
    *_each("set[int]", {"JSON": "JSON"}),
    *_each("HttpUrl", {"TEXT": "Text", "VARCHAR(300)": "String(300)"}),
    *_each("ipaddress.IPv4Address", {"VARCHAR(50)": "String(50)"}, "IPv4Address"),
    *_each("SecretStr", {"VARCHAR(100)": "String(100)"}),
    *_each("bytes", {"VARCHAR(50)": "String(50)", "TEXT": "Text"}),
    Fit(
        "INET",
        "a: ipaddress.IPv4Address",
        "pg.INET, nullable=False",
        systems=("postgresql",),
        values=("ipaddress.IPv6Address('::1')",),
    ),
    Fit("ARRAY of integers", "a: list[int]", "pg.ARRAY(Integer), nullable=False", systems=("postgresql",)),
    Fit(
        "ARRAY of small ones",
        "a: list[Annotated[int, Field(ge=0, le=9)]]",
        "pg.ARRAY(Integer), nullable=False",
        systems=("postgresql",),
    ),
    Fit("ARRAY of texts", "a: list[str]", "pg.ARRAY(String(5)), nullable=False", systems=("postgresql",)),
    Fit("JSONB", "a: dict[str, Any]", "pg.JSONB, nullable=False", systems=("postgresql",)),
    Fit("union in VARCHAR", "a: int | str", "String(20), nullable=False"),
    Fit(
        "union in INTEGER",
        "a: Annotated[int, Field(ge=0, le=9)] | Annotated[str, Field(max_length=3)]",
        "Integer, nullable=False",
    ),
]
COLUMNS = [
    Fit("no such column", "a: int", None, "Column('b', Integer)"),
    Fit("no such column of an optional field", "a: int | None = None", None, "Column('b', Integer)"),
    Fit("excluded field without column", "a: int = Field(exclude=True)", None, "Column('b', Integer)"),
    Fit("required column", "a: Annotated[int, Field(ge=0, le=9)]", "Integer", "Column('b', Integer, nullable=False)"),
    Fit("null column", "a: Annotated[int, Field(ge=0, le=9)]", "Integer", "Column('b', Integer, nullable=True)"),
    Fit(
        "column with a server default",
        "a: Annotated[int, Field(ge=0, le=9)]",
        "Integer",
        "Column('b', Integer, server_default='1', nullable=False)",
    ),
    Fit(
        "column with a default",
        "a: Annotated[int, Field(ge=0, le=9)]",
        "Integer",
        "Column('b', Integer, default=1, nullable=False)",
    ),
    Fit(
        "computed column",
        "a: Annotated[int, Field(ge=0, le=9)]",
        "Integer",
        "Column('b', Integer, Computed('a + 1', persisted=True))",
    ),
    Fit(
        "identity column",
        "a: Annotated[int, Field(ge=0, le=9)]",
        "Integer",
        "Column('b', Integer, Identity())",
        ("postgresql",),
    ),
    Fit(
        "identity always",
        "a: Annotated[int, Field(ge=0, le=9)]",
        "Integer",
        "Column('b', Integer, Identity(always=True), nullable=False)",
        ("postgresql",),
    ),
    Fit(
        "field for a computed column",
        "a: Annotated[int, Field(ge=0, le=9)]\nb: Annotated[int, Field(ge=0, le=9)]",
        "Integer",
        "Column('b', Integer, Computed('a + 1', persisted=True))",
    ),
    Fit(
        "timestamp by the server",
        "a: Annotated[int, Field(ge=0, le=9)]",
        "Integer",
        "Column('b', DateTime, server_default=func.now(), nullable=False)",
    ),
    Fit("alias", "a: Annotated[int, Field(ge=0, le=9)] = Field(alias='A')", "Integer"),
]
DEFAULTS = [
    Fit(
        "null over a server default",
        "a: Annotated[int, Field(ge=0, le=9)] | None = None",
        "Integer, server_default='5'",
    ),
    Fit("same default", "a: Annotated[int, Field(ge=0, le=9)] = 5", "Integer, server_default='5'"),
    Fit("other default", "a: Annotated[int, Field(ge=0, le=9)] = 4", "Integer, server_default='5'"),
    Fit("other default in Python", "a: Annotated[int, Field(ge=0, le=9)] = 4", "Integer, default=5"),
    Fit("same default in Python", "a: Annotated[int, Field(ge=0, le=9)] = 5", "Integer, default=5"),
    Fit("null over a default", "a: Annotated[int, Field(ge=0, le=9)] | None = None", "Integer, default=5"),
    Fit("default of text", "a: Annotated[str, Field(max_length=9)] = 'new'", "String(9), server_default='new'"),
    Fit("other default of text", "a: Annotated[str, Field(max_length=9)] = 'old'", "String(9), server_default='new'"),
    Fit("default without one in the table", "a: Annotated[int, Field(ge=0, le=9)] = 5", "Integer"),
    Fit("default of a bool", "a: bool = False", "Boolean, server_default=false(), nullable=False"),
    Fit("other default of a bool", "a: bool = True", "Boolean, server_default=false(), nullable=False"),
    Fit("default that does not fit", "a: str = 'much too long'", "String(5), nullable=False"),
    Fit("required over a default", "a: Annotated[int, Field(ge=0, le=9)]", "Integer, server_default='5'"),
    Fit("other default of a literal", "a: Literal['a', 'b'] = 'b'", "String(5), server_default='a'"),
]

LATER = [
    Fit(
        "3 bytes a character",
        "a: Annotated[str, Field(max_length=20)]",
        "mysql.VARCHAR(20, charset='utf8mb3'), nullable=False",
        systems=("mariadb",),
        values=("'😀'",),
    ),
    Fit(
        "Latin-1",
        "a: Annotated[str, Field(max_length=20)]",
        "mysql.VARCHAR(20, charset='latin1'), nullable=False",
        systems=("mariadb",),
        values=("'ł'",),
    ),
    Fit(
        "NCHAR(5)",
        "a: Annotated[str, Field(max_length=6)]",
        "NCHAR(5), nullable=False",
        systems=("mariadb",),
        values=("'😀'",),
    ),
    Fit("BINARY(4)", "a: Annotated[bytes, Field(max_length=4)]", "BINARY(4), nullable=False", systems=("mariadb",)),
    Fit(
        "YEAR",
        "a: Annotated[int, Field(ge=1900, le=2156)]",
        "mysql.YEAR, nullable=False",
        systems=("mariadb",),
        values=("1900", "2000"),
    ),
    Fit(
        "DECIMAL UNSIGNED",
        "a: Annotated[Decimal, Field(max_digits=5, decimal_places=2)]",
        "mysql.NUMERIC(5, 2, unsigned=True), nullable=False",
        systems=("mariadb",),
        values=("Decimal('-1')",),
    ),
    Fit(
        "DOUBLE(7, 2)",
        "a: Annotated[float, Field(ge=0, le=1000)]",
        "mysql.DOUBLE(7, 2), nullable=False",
        systems=("mariadb",),
        values=("0.125",),
    ),
    Fit("INTERVAL(0)", "a: timedelta", "pg.INTERVAL(precision=0), nullable=False", systems=("postgresql",)),
    Fit("text in INET", "a: str", "pg.INET, nullable=False", systems=("postgresql",), values=("'10.0.0.1'",)),
    Fit(
        "decimal in MONEY", "a: Decimal", "pg.MONEY, nullable=False", systems=("postgresql",), values=("'1'", "'$1.00'")
    ),
    Fit(
        "domain",
        "a: Annotated[int, Field(ge=-1, le=100)]",
        "pg.DOMAIN('positive', Integer, check='VALUE > 0'), nullable=False",
        systems=("postgresql",),
    ),
    Fit(
        "long texts in an array",
        "a: list[str]",
        "pg.ARRAY(String(3)), nullable=False",
        systems=("postgresql",),
        values=("['abcd']",),
    ),
    Fit("null in a JSON column", "a: dict[str, int] | None", "JSON, nullable=False"),
    Fit(
        "null that a CHECK refuses",
        "a: Annotated[int, Field(ge=0, le=9)] | None",
        "Integer, CheckConstraint('a IS NOT NULL')",
    ),
    Fit(
        "numbers that a CHECK lists",
        "a: Annotated[int, Field(ge=0, le=5)]",
        "Integer, CheckConstraint('a IN (1, 2, 3)'), nullable=False",
    ),
]
"""Pairs that the comparison was wrong about when they were tried later."""

_WORDS = "Annotated[str, Field(max_length=10)]"
_DIGIT = "Annotated[int, Field(ge=0, le=9)]"
_UUID_TEXT = "Annotated[str, Field(pattern='^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')]"
_TEXTS = ("'ABC'", "'abc'", "'éé'", "'  '", "'R and D'", "'admin'", "'root'", "''", "'DE'")


def _unseen(systems: str, *lines: tuple[str, ...]) -> list[Fit]:
    """Pairs of a field, a column and further values."""
    by = tuple(each for each in SYSTEMS if each[0] in systems)
    return [
        Fit(
            f"{field} in {column}",
            field if field[:3] == "a: " else f"a: {field}",
            f"{column}, nullable=False",
            "",
            by,
            rest,
        )
        for field, column, *values in lines
        for rest in [tuple(values)]
    ]


def _checked(systems: str, field: str, *checks: str) -> list[Fit]:
    """Pairs of a field of texts and a column with a CHECK."""
    return _unseen(systems, *((field, f'String(20), CheckConstraint("{each}")', *_TEXTS) for each in checks))


UNSEEN = [
    *_checked("pms", _WORDS, "a <> ''", "length(a) >= 3", "length(a) BETWEEN 2 AND 4", "a LIKE 'x%'", "a <> 'admin'"),
    *_checked("pms", _WORDS, "a = 'red' OR a = 'tan'", "trim(a) <> ''", "a NOT IN ('root', 'red')", "NOT (a = 'x')"),
    *_checked("pms", _WORDS, "a IN ('R and D', 'HR')", "5 >= length(a)", "a IS NULL OR length(a) < 4"),
    *_checked("p", _WORDS, "a ~ '^[A-Z]{3}$'", "a ~* '^[a-z]+$'", "a = lower(a)", "octet_length(a) <= 5"),
    *_checked("m", _WORDS, "a REGEXP '^[A-Z]{3}$'", "length(a) <= 5"),
    *_checked("s", _WORDS, "a GLOB '[a-z]*'"),
    *_checked("ps", "Literal['R and D', 'HR']", "a IN ('R and D', 'HR')"),
    *_checked("pms", "Annotated[str, Field(min_length=1, max_length=10)]", "a <> ''"),
    *_checked("p", "Annotated[str, Field(pattern='^[A-Z]{3}$', max_length=3)]", "a ~ '^[A-Z]{3}$'"),
    *_unseen(
        "pms",
        ("bytes", "LargeBinary, CheckConstraint('length(a) <= 5')"),
        ("Annotated[bytes, Field(max_length=5)]", "LargeBinary, CheckConstraint('length(a) <= 5')"),
        (_DIGIT, "Integer, CheckConstraint('a <> 0')"),
        (_DIGIT, "Integer, CheckConstraint('a IS NULL OR (a >= 1 AND a <= 5)')"),
        ("Annotated[int, Field(ge=1, le=3)]", "Integer, CheckConstraint('a IN (1, 3)')"),
        ("Literal[1, 3]", "Integer, CheckConstraint('a IN (1, 3)')"),
        (
            "Annotated[date, Field(ge=date(2000, 1, 1))]",
            "Date, CheckConstraint(\"a >= '2010-01-01'\")",
            "date(2005, 1, 1)",
        ),
        (
            "Annotated[date, Field(ge=date(2010, 1, 1))]",
            "Date, CheckConstraint(\"a >= '2010-01-01'\")",
            "date(2010, 1, 1)",
        ),
        ("a: Decimal = Decimal('0')", "Numeric(5, 2), server_default=text('0.00')"),
        ("a: Color = Color.RED", "sa.Enum(Color), server_default='RED'"),
        ("a: Color = Color.RED", "sa.Enum(Color), server_default='GREEN'"),
        ("a: NaiveDatetime = datetime(2020, 1, 1)", "DateTime, server_default='2020-01-01 00:00:00'"),
        ("Literal['RED', 'GREEN']", "sa.Enum(Color)"),
        ("int", "sa.Enum(Level)", "Level.low", "300"),
        ("str", "Uuid(as_uuid=False)", "'3fa85f64-5717-4562-b3fc-2c963f66afa6'"),
        ("UUID4", "Uuid(as_uuid=False)"),
        (_UUID_TEXT, "Uuid(as_uuid=False)"),
        ("Literal[1, 'a']", "String(5)"),
        ("Literal[True, False]", "Boolean"),
        ("SecretBytes", "LargeBinary"),
        ("timedelta", "Interval(native=False)", "timedelta(days=9999999)"),
        ("Annotated[Decimal, Field(max_digits=14, decimal_places=12)]", "Float(asdecimal=True)", "Decimal('1E-12')"),
    ),
    *_unseen(
        "m",
        ("Annotated[int, Field(ge=-5, le=5)]", "mysql.INTEGER(5, zerofill=True)"),
        ("Annotated[int, Field(ge=0, le=4000000000)]", "mysql.INTEGER(5, zerofill=True)"),
        ("Annotated[int, Field(ge=0, le=255)]", "mysql.BIT(8)"),
        ("Annotated[str, Field(max_length=100)]", "Text(100)", "'😀' * 100"),
        ("Literal['€']", "mysql.VARCHAR(5, charset='latin1')"),
        ("Annotated[str, Field(max_length=5)]", "String(5, collation='latin1_bin')", "'ł'"),
        ("set[Literal['a', 'b']]", "mysql.SET('a', 'b')", "{'a'}"),
        ("NonNegativeFloat", "mysql.DOUBLE"),
    ),
    *_unseen(
        "p",
        ("timedelta", "pg.INTERVAL(fields='DAY TO SECOND', precision=3)"),
        ("list[Color]", "pg.ARRAY(sa.Enum(Color, name='c'))", "['red']"),
        (f"conlist({_DIGIT}, max_length=2)", "pg.ARRAY(Integer)", "[1, 2]", "[1, 2, 3]", "[100]"),
        ("list[HttpUrl]", "pg.ARRAY(Text)", "['http://a.de/']"),
        ("ipaddress.IPv4Address", "pg.CIDR", "ipaddress.IPv4Network('10.0.0.0/8')"),
        ("ipaddress.IPv4Network", "pg.CIDR", "ipaddress.IPv4Network('10.0.0.0/8')", "ipaddress.IPv6Network('::/8')"),
        ("str", "pg.DOMAIN('dm', String(5))"),
        ("str", "pg.DOMAIN('dm', Text, check=\"VALUE <> ''\")"),
        ("int | None", "pg.DOMAIN('dm', Integer, not_null=True)"),
        ("Annotated[int, Field(ge=0, le=99)]", "Numeric(asdecimal=False)"),
    ),
    *_unseen(
        "s",
        ("int", "Numeric(10)"),
        ("UUID4", "sa.UUID"),
        ("NaiveDatetime", "sqlite.DATETIME(truncate_microseconds=True)"),
        ("Annotated[Decimal, Field(max_digits=8, decimal_places=2)]", "Numeric(10)"),
    ),
    *_unseen("ms", ("PositiveFloat", "Float, CheckConstraint('a > 0')")),
    Fit("identity where there is none", f"a: {_DIGIT}", "Integer", "Column('b', Integer, Identity(), nullable=False)"),
    Fit(
        "sequence where there is none", f"a: {_DIGIT}", "Integer", "Column('b', Integer, Sequence('q'), nullable=False)"
    ),
]
"""Columns and fields of kinds that nobody had tried before, which the comparison was wrong about."""

FITS = [
    *NULLS,
    *LENGTHS,
    *RANGES,
    *PRECISIONS,
    *TIMEZONES,
    *ENUMS,
    *CHECKS,
    *TYPES,
    *COLUMNS,
    *DEFAULTS,
    *LATER,
    *UNSEEN,
]
