"""Models whose fingerprints must be the same with every Pydantic, in every process."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Dict, Generic, List, Literal, Optional, Set, Tuple, TypeVar, Union  # noqa: UP035
from uuid import UUID

from opentelemetry.instrumentation.schema._schemas.versions import fingerprint
from opentelemetry.instrumentation.schema.integrations.pydantic.fields import fields
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AnyHttpUrl,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FutureDate,
    HttpUrl,
    PositiveInt,
    RootModel,
    SecretStr,
    StrictInt,
    StringConstraints,
    computed_field,
    conint,
    constr,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass
from typing_extensions import NotRequired, TypedDict

T = TypeVar("T")


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Scalars(BaseModel):
    a: int
    b: Optional[float] = None  # noqa: UP045
    c: str = "x"
    d: bytes
    e: bool = False
    f: Decimal = Decimal("1.50")
    g: date
    h: datetime
    i: timedelta = timedelta(hours=1)
    j: UUID
    k: Any = None
    l: Union[int, str, None] = None  # noqa: E741, UP007
    m: SecretStr
    n: HttpUrl
    o: AnyHttpUrl


class Bounds(BaseModel):
    a: Annotated[int, Field(ge=0, lt=10, multiple_of=2)]
    b: Annotated[str, StringConstraints(min_length=1, max_length=9, pattern="^a", strip_whitespace=True, to_lower=True)]
    c: Annotated[Decimal, Field(max_digits=5, decimal_places=2)]
    d: Optional[Annotated[int, Field(gt=1)]] = None  # noqa: UP045
    e: PositiveInt
    f: StrictInt
    g: AwareDatetime
    h: FutureDate
    i: conint(ge=1)  # type: ignore[valid-type]
    j: constr(max_length=3)  # type: ignore[valid-type]
    k: Annotated[float, Field(allow_inf_nan=False)]
    l: Annotated[List[int], Field(max_length=3)]  # noqa: E741, UP006


class Collections(BaseModel):
    a: List[int]  # noqa: UP006
    b: Set[str]  # noqa: UP006
    c: Dict[str, List[Color]]  # noqa: UP006
    d: Tuple[int, str]  # noqa: UP006
    e: tuple[int, ...]
    f: frozenset[Literal["b", "a"]]
    g: list = []
    h: dict[str, int] = Field(default_factory=dict)


class Names(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="forbid", from_attributes=True)
    a: Annotated[int, Field(alias="A")]
    b: Annotated[int, Field(validation_alias=AliasChoices("x", AliasPath("y", 0)), serialization_alias="z")]
    c: Annotated[int, Field(exclude=True)] = 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def d(self) -> int:
        return 1


def _even(value: int) -> int:
    return value


class Code(BaseModel):
    a: Annotated[int, AfterValidator(_even)]
    b: str

    @field_validator("b", mode="before")
    @classmethod
    def stripped(cls, value: Any) -> Any:
        return value

    @model_validator(mode="after")
    def whole(self) -> Code:
        return self


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]
    age: int = 0


class Tagged(BaseModel):
    pet: Annotated[Union[Cat, Dog], Field(discriminator="kind")]  # noqa: UP007
    pets: dict[str, Union[Dog, Cat]] = {}  # noqa: UP007


class Tree(BaseModel):
    value: int
    children: List[Tree] = []  # noqa: UP006
    parent: Optional[Tree] = None  # noqa: UP045


class Page(BaseModel, Generic[T]):
    items: List[T]  # noqa: UP006
    total: int


class Row(TypedDict):
    a: int
    b: NotRequired[str]


@dataclass
class Point:
    x: int
    y: int = 0


class Held(BaseModel):
    row: Row
    point: Point
    page: Page[Cat]


class Numbers(RootModel[List[int]]):  # noqa: UP006
    pass


class Configured(BaseModel):
    model_config = ConfigDict(
        str_strip_whitespace=True, str_max_length=50, strict=True, alias_generator=lambda name: name.upper()
    )
    a: str
    b: int


MODELS = (
    Scalars, Bounds, Collections, Names, Code, Tagged, Tree, Page[int], Held, Numbers, Configured, Point,
)  # fmt: skip


def fingerprints() -> dict[str, str]:
    """Name → fingerprint."""
    found = {}
    for model in MODELS:
        document = fields(model)
        found[model.__qualname__] = fingerprint(next(iter(document.values())), document)
    return found


if __name__ == "__main__":
    import json

    print(json.dumps(fingerprints(), indent=2))
