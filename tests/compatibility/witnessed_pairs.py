"""Pairs of schema versions that were once called compatible or breaking wrongly, each with an input that tells.

`request` and `response` are what is to be said, as in `pairs`. `witness` is an input that the old schema accepts and
the new one refuses; None where there is none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

OK, BREAKS, UNKNOWN = "compatible", "breaking", "unknown"
NOTHING = object()
S, I = {"type": "string"}, {"type": "integer"}
DRAFT4, DRAFT7, DRAFT2020 = (
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2020-12/schema",
)


class WitnessedPair(NamedTuple):
    """Two versions, what is to be said of them, and an input that shows it.

    Attributes:
        name: What changes.
        old: Class text, or a JSON Schema.
        new: Likewise.
        request: What is to be said of it as a request.
        response: Likewise as a response.
        witness: An input that only the old version accepts; NOTHING where no input is known.
    """

    name: str
    old: Any
    new: Any
    request: str
    response: str
    witness: Any = NOTHING


def model(body: str, before: str = "") -> str:
    """A model that needs something defined before it."""
    return f"{before}\nclass Model(BaseModel):\n    {body}"


def number(bases: str) -> str:
    return model("a: E", f"class E({bases}):\n    x = 1\n    y = 2")


def pets(tag: str, union: str) -> str:
    return model(
        f"a: {union}",
        f"class Cat(BaseModel):\n    kind: Literal['cat'] = {tag}\n    lives: int = 1\n"
        "class Dog(BaseModel):\n    kind: Literal['dog']\n    size: int = 1",
    )


def tagged(tag: str) -> str:
    return model(
        f"a: Annotated[Annotated[Cat, Tag('{tag}')] | Annotated[Dog, Tag('dog')], Discriminator(kind)]",
        "def kind(v):\n    return v.get('kind') if isinstance(v, dict) else v.kind\n"
        "class Cat(BaseModel):\n    kind: str = 'cat'\nclass Dog(BaseModel):\n    kind: str = 'dog'",
    )


POINT = "class P(NamedTuple):\n    x: int\n    "
TYPED = "class D(TypedDict):\n    x: str"
PLAIN = "@dataclasses.dataclass\nclass D:\n    x: str"
SHORT = "model_config = ConfigDict(str_max_length=2)\n    a: D"
EXTRA = "class B(BaseModel):\n    model_config = ConfigDict(extra='allow')\n    __pydantic_extra__: 'dict[str, %s]'\n"
GENERIC = "C = TypeVar('C', int, float)\n@dataclasses.dataclass\nclass G(Generic[T]):\n    x: T"
TEXTS = "X = TypeAliasType('X', 'list[Y]')\nY = TypeAliasType('Y', '{} | X')"
ALIAS = "X = TypeAliasType('X', list[T], type_params=(T,))"

LONGEST = """
class Most:
    def __init__(self, longest):
        self.longest = longest
    def __get_pydantic_core_schema__(self, source, handler):
        return core_schema.no_info_after_validator_function(self.check, handler(source))
    def check(self, value):
        assert len(value) <= self.longest
        return value
"""
COMPUTED = "a: int\n@computed_field({})\n@property\ndef b(self) -> int:\n    return 1"
FIELD = "@dataclasses.dataclass\nclass D:\n    x: int = Field(0, {})"
MODELS = [
    WitnessedPair("members that convert texts", number("int, Enum"), number("Enum"), BREAKS, OK, {"a": "1"}),
    WitnessedPair("integer enum to literal", number("IntEnum"), "a: Literal[1, 2]", BREAKS, OK, {"a": "1"}),
    WitnessedPair("strict integer enum", number("IntEnum"), number("IntEnum").replace("a: E", "model_config = ConfigDict(strict=True)\n    a: E"),
              BREAKS, OK, {"a": "1"}),
    WitnessedPair("flags", number("IntFlag"), "a: Literal[1, 2]", BREAKS, UNKNOWN, {"a": 3}),
    WitnessedPair("null among the values", "a: Literal['x', None]", "a: Literal['x'] | None", OK, OK),
    WitnessedPair("null among the values gone", "a: Literal['x', None]", "a: Literal['x']", BREAKS, OK, {"a": None}),
    WitnessedPair("named tuple: item that had a default", model("a: P", POINT + "y: int = 0"), model("a: P", POINT + "y: int"), BREAKS, OK, {"a": [1]}),
    WitnessedPair("named tuple: item renamed", model("a: P", POINT + "y: int"), model("a: P", POINT + "z: int"), BREAKS, OK, {"a": {"x": 1, "y": 2}}),
    WitnessedPair("named tuple to tuple", model("a: P", POINT + "y: int"), "a: tuple[int, int]", BREAKS, OK, {"a": {"x": 1, "y": 2}}),
    WitnessedPair("config reaches a typed dict", model("a: D", TYPED), model(SHORT, TYPED), BREAKS, OK, {"a": {"x": "abc"}}),
    WitnessedPair("config reaches a plain dataclass", model("a: D", PLAIN), model(SHORT, PLAIN), BREAKS, OK, {"a": {"x": "abc"}}),
    WitnessedPair("init-only variable", model("a: D", PLAIN + "\n    y: dataclasses.InitVar[int] = 0"),
              model("a: D", PLAIN + "\n    y: dataclasses.InitVar[bool] = True"), BREAKS, OK, {"a": {"x": "", "y": 5}}),
    WitnessedPair("texts from numbers", "a: Annotated[str, Field(coerce_numbers_to_str=True)]", "a: str", UNKNOWN, UNKNOWN, {"a": 5}),
    WitnessedPair("bytes from base64", "a: bytes", "model_config = ConfigDict(val_json_bytes='base64')\na: bytes", UNKNOWN, UNKNOWN, {"a": "!"}),
    WitnessedPair("durations written as numbers", "a: timedelta", "model_config = ConfigDict(ser_json_timedelta='float')\na: timedelta", OK, UNKNOWN),
    WitnessedPair("encoders", "a: datetime", "model_config = ConfigDict(json_encoders={datetime: str})\na: datetime", OK, UNKNOWN),
    WitnessedPair("discriminator added, tag optional", pets("'cat'", "Cat | Dog"), pets("'cat'", "Annotated[Cat | Dog, Field(discriminator='kind')]"),
              BREAKS, OK, {"a": {}}),
    WitnessedPair("tags of a function", tagged("cat"), tagged("kitty"), UNKNOWN, UNKNOWN, {"a": {"kind": "cat"}}),
    WitnessedPair("path to its first part", "a: str | None = Field(None, validation_alias=AliasPath('n', 0))", "a: str | None = Field(None, alias='n')",
              BREAKS, OK, {"n": ["x"]}),
    WitnessedPair("name taken by another field", "a: int | None = Field(None, validation_alias=AliasChoices('x', 'y'))",
              "a: int | None = Field(None, validation_alias='x')\nb: bool | None = Field(None, validation_alias='y')", BREAKS, OK, {"y": 5}),
    WitnessedPair("root model to what it holds", model("a: R", "class R(RootModel[int]):\n    pass"), "a: int", OK, OK),
    WitnessedPair("root model in a union", model("a: R | str", "class R(RootModel[int]):\n    pass"), "a: int | str", OK, OK),
    WitnessedPair("list to set", "a: list[int]", "a: set[int]", OK, OK),
    WitnessedPair("set to list", "a: set[int]", "a: list[int]", OK, BREAKS),
    WitnessedPair("list to tuple of any length", "a: list[int]", "a: tuple[int, ...]", OK, OK),
    WitnessedPair("JSON to text", "a: str", "a: Json", BREAKS, BREAKS, {"a": "x"}),
    WitnessedPair("inside a secret", "a: Secret[str]", "a: Secret[int]", BREAKS, BREAKS, {"a": "x"}),
    WitnessedPair("host of a URL", "a: AnyUrl", "a: Annotated[AnyUrl, UrlConstraints(host_required=True)]", BREAKS, OK, {"a": "x:y"}),
    WitnessedPair("schemes of a URL", "a: HttpUrl", "a: AnyUrl", OK, BREAKS),
    WitnessedPair("IPv4 to any IP", "a: ipaddress.IPv4Address", "a: IPvAnyAddress", OK, BREAKS),
    WitnessedPair("bound of a class of its own", "a: ByteSize", "a: Annotated[ByteSize, Field(ge=100)]", UNKNOWN, UNKNOWN, {"a": 1}),
    WitnessedPair("bound in another time zone", "a: datetime = Field(ge=datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=5))))",
              "a: datetime = Field(ge=datetime(2024, 1, 1, tzinfo=timezone.utc))", BREAKS, BREAKS, {"a": "2023-12-31T22:00:00Z"}),
    WitnessedPair("argument of an alias", model("a: X[int]", ALIAS), model("a: X[bool]", ALIAS), BREAKS, BREAKS, {"a": [5]}),
    WitnessedPair("aliases that hold each other", model("a: X", TEXTS.format("int")), model("a: X", TEXTS.format("str")), BREAKS, BREAKS, {"a": [True]}),
    WitnessedPair("inherited type of undeclared keys", model("a: int = 0", EXTRA % "int").replace("Model(BaseModel)", "Model(B)"),
              model("a: int = 0", EXTRA % "bool").replace("Model(BaseModel)", "Model(B)"), BREAKS, BREAKS, {"z": 5}),
    WitnessedPair("generic dataclass", model("a: G[int]", GENERIC), model("a: G[bool]", GENERIC), BREAKS, BREAKS, {"a": {"x": 5}}),
    WitnessedPair("constraints of a type variable", model("a: G", GENERIC.replace("[T]", "[C]").replace(": T", ": C")),
              model("a: G", GENERIC.replace("[T]", "[C]").replace(": T", ": C").replace("int, float", "bool, bytes")), BREAKS, BREAKS, {"a": {"x": 5}}),
    WitnessedPair("null as default of what is not null", "a: int", "a: int = None", OK, BREAKS),
    WitnessedPair("set to list of a greatest length", "a: Annotated[set[int], Field(max_length=1)]", "a: Annotated[list[int], Field(max_length=1)]",
              BREAKS, BREAKS, {"a": [1, 1]}),
    WitnessedPair("alias in a typed dict", model("a: D", TYPED), model("a: D", TYPED.replace("str", "Annotated[str, Field(alias='y')]")), BREAKS, BREAKS,
              {"a": {"x": ""}}),
    WitnessedPair("items checked when they are read", "a: Iterable[int]", "a: list[int]", UNKNOWN, UNKNOWN, {"a": ["x"]}),
    WitnessedPair("pair to list", "a: tuple[int, int]", "a: list[int]", OK, BREAKS),
    WitnessedPair("any model", "a: BaseModel", "a: BaseModel | None", OK, BREAKS),
    WitnessedPair("strict text", "a: str", "a: StrictStr", OK, OK),
    WitnessedPair("name with a dot", "p: int = Field(alias='p.q')", "p: int = Field(validation_alias=AliasPath('p', 'q'))", BREAKS, BREAKS, {"p.q": 1}),
    WitnessedPair("index to key", "p: int = Field(validation_alias=AliasPath('p', 0))", "p: int = Field(validation_alias=AliasPath('p', '0'))", BREAKS, OK, {"p": [1]}),
    WitnessedPair("init=False, which a model ignores", "a: int = Field(1, init=False)", "a: int = Field(1, init=False, ge=3)", BREAKS, OK, {"a": 1}),
    WitnessedPair("init_var, which a model ignores", "a: int = Field(1, init_var=True)", "a: str = Field('', init_var=True)", BREAKS, BREAKS, {"a": 1}),
    WitnessedPair("strict field of an integer enum", number("IntEnum"), number("IntEnum").replace("a: E", "a: E = Field(strict=True)"), BREAKS, OK, {"a": "1"}),
    WitnessedPair("integer enum to strict integer", number("IntEnum"), "a: StrictInt", BREAKS, BREAKS, {"a": "1"}),
    WitnessedPair("strict texts are not made of numbers", "model_config = ConfigDict(coerce_numbers_to_str=True)\na: str",
                  "model_config = ConfigDict(coerce_numbers_to_str=True)\na: str = Field(strict=True)", UNKNOWN, UNKNOWN, {"a": 5}),
    WitnessedPair("strict date to strict datetime", "a: date = Field(strict=True)", "a: datetime = Field(strict=True)", BREAKS, BREAKS, {"a": "2024-01-01"}),
    WitnessedPair("strict class of its own", "a: complex", "a: complex = Field(strict=True)", UNKNOWN, UNKNOWN, {"a": 1}),
    WitnessedPair("bound before code and after it", "a: Annotated[int, AfterValidator(abs), Field(gt=0)]", "a: Annotated[int, Field(gt=5), AfterValidator(abs), Field(gt=0)]",
                  BREAKS, UNKNOWN, {"a": 3}),
    WitnessedPair("code that makes the schema", "a: int", "a: Annotated[int, GetPydanticSchema(lambda kind, handler: handler(bool))]", UNKNOWN, UNKNOWN, {"a": 5}),
    WitnessedPair("what an annotation holds", model("a: Annotated[str, Most(3)]", LONGEST), model("a: Annotated[str, Most(2)]", LONGEST), UNKNOWN, UNKNOWN, {"a": "abc"}),
    WitnessedPair("values of a Counter", "a: dict", "a: collections.Counter", BREAKS, OK, {"a": {"x": "y"}}),
    WitnessedPair("decimals of an enum", model("a: E", "class E(Enum):\n    x = Decimal('1.5')"), model("a: E", "class E(Enum):\n    x = '1.5'"), UNKNOWN, UNKNOWN, {"a": 1.5}),
    WitnessedPair("bytes of a literal", "a: Literal[\"b'x'\"]", "a: Literal[b'x']", UNKNOWN, UNKNOWN, {"a": "b'x'"}),
    WitnessedPair("member of an enum in a literal", "a: Literal['x']", model("a: Literal[E.x]", "class E(Enum):\n    x = 'x'"), UNKNOWN, UNKNOWN, {"a": "x"}),
    WitnessedPair("infinite decimals", "model_config = ConfigDict(allow_inf_nan=True)\na: Decimal", "a: Decimal", BREAKS, OK, {"a": "NaN"}),
    WitnessedPair("bound of many digits", "a: Decimal = Field(ge=Decimal('0.1'))", "a: Decimal = Field(ge=Decimal('0.10000000000000000001'))", BREAKS, BREAKS, {"a": "0.1"}),
    WitnessedPair("number as a fraction", "a: fractions.Fraction", "a: str", BREAKS, BREAKS, {"a": 0.5}),
    WitnessedPair("number as an address", "a: ipaddress.IPv4Address", "a: str", BREAKS, BREAKS, {"a": 5}),
    WitnessedPair("number as a strict address", "a: ipaddress.IPv4Address", "a: ipaddress.IPv4Address = Field(strict=True)", BREAKS, OK, {"a": 5}),
    WitnessedPair("kind of a path", "a: DirectoryPath", "a: FilePath", UNKNOWN, UNKNOWN, {"a": "/"}),
    WitnessedPair("length of secrets", "a: SecretStr", "model_config = ConfigDict(str_max_length=2)\na: SecretStr", BREAKS, OK, {"a": "abc"}),
    WitnessedPair("schemes beside a length", "a: Annotated[AnyUrl, UrlConstraints(max_length=50)]", "a: Annotated[HttpUrl, UrlConstraints(max_length=50)]", BREAKS, OK,
                  {"a": "ftp://a.de"}),
    WitnessedPair("several hosts", "a: PostgresDsn", "a: AnyUrl", BREAKS, BREAKS, {"a": "postgres://u@h1:1,h2:2/db"}),
    WitnessedPair("time in another zone", "a: time = Field(ge=time(8, tzinfo=timezone(timedelta(hours=1))))", "a: time = Field(ge=time(8, tzinfo=timezone.utc))", BREAKS, BREAKS,
                  {"a": "07:30:00Z"}),
    WitnessedPair("flags of a pattern", "a: str = Field(pattern=re.compile('^a', re.I))", "a: str = Field(pattern='^a')", BREAKS, BREAKS, {"a": "A"}),
    WitnessedPair("engine of patterns", "model_config = ConfigDict(regex_engine='python-re')\na: str = Field(pattern='^a$')", "a: str = Field(pattern='^a$')", UNKNOWN, UNKNOWN,
                  {"a": "a\n"}),
    WitnessedPair("names in responses", "a: int = Field(serialization_alias='b')", "model_config = ConfigDict(serialize_by_alias=True)\na: int = Field(serialization_alias='b')",
                  OK, UNKNOWN),
    WitnessedPair("Field() in a plain dataclass", model("a: D", FIELD.format("le=5")), model("a: D", FIELD.format("le=3")), BREAKS, OK, {"a": {"x": 5}}),
    WitnessedPair("alias in a plain dataclass", model("a: D", FIELD.format("alias='q'")), model("a: D", FIELD.format("alias='r'")), OK, BREAKS),
    WitnessedPair("__post_init__ of a plain dataclass", model("a: D", PLAIN), model("a: D", PLAIN + "\n    def __post_init__(self):\n        assert self.x"), UNKNOWN, UNKNOWN,
                  {"a": {"x": ""}}),
    WitnessedPair("keys of a map are texts", "a: dict[int, int]", "a: dict[str, int]", OK, BREAKS),
    WitnessedPair("any key is a text", "a: dict", "a: dict[str, Any]", OK, OK),
    WitnessedPair("two items to a pair", "a: Annotated[list[int], Field(min_length=2, max_length=2)]", "a: tuple[int, int]", OK, OK),
    WitnessedPair("values of two literals", "a: Literal['a'] | Literal['b']", "a: Literal['a', 'b']", OK, OK),
    WitnessedPair("values to types", model("a: E", "class E(Enum):\n    x = 'a'\n    y = 1"), "a: str | int", OK, BREAKS),
    WitnessedPair("values within bounds", "a: Literal[1, 2]", "a: Annotated[int, Field(le=2)]", OK, BREAKS),
    WitnessedPair("more than 0 to at least 1", "a: Annotated[int, Field(gt=0)]", "a: Annotated[float, Field(ge=1)]", OK, BREAKS),
    WitnessedPair("computed field left out", COMPUTED.format(""), COMPUTED.format("exclude_if=bool"), OK, BREAKS),
    WitnessedPair("stripped before a greatest length", "a: Annotated[str, Field(max_length=2)]",
              "a: Annotated[str, StringConstraints(max_length=2, strip_whitespace=True)]", OK, OK),
]  # fmt: skip


def obj(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"title": "Model", "type": "object", "properties": properties, **more}


def below(keyword: str, target: Any) -> dict[str, Any]:
    """A keyword that is known by its text, with a reference in it."""
    held: Any = {"$ref": "#/$defs/T"}
    held = {"a": held} if keyword in ("patternProperties", "dependentSchemas") else held
    return {"title": "Model", keyword: [held, {"const": 7}] if keyword == "oneOf" else held, "$defs": {"T": target}}


def array(*prefix: Any, **more: Any) -> dict[str, Any]:
    return {"title": "Model", "type": "array", "prefixItems": list(prefix), **more}


def by_id(ref: str, longest: int) -> dict[str, Any]:
    item = {"$id": "item.json", "$anchor": "it", "type": "string", "maxLength": longest}
    return obj({"a": {"$ref": ref}}, **{"$id": "http://a.test/root.json", "$defs": {"i i": item}})


def chained(target: Any) -> dict[str, Any]:
    short = {"type": "string", "maxLength": 2}
    return obj({"a": {"oneOf": [{"$ref": "#/$defs/A"}, short]}}, **{"$defs": {"A": {"$ref": "#/$defs/B"}, "B": target}})


BASE = {"S": S}
CLOSED = {"title": "Model", "type": "object", "required": ["x"], "additionalProperties": I}
DOCUMENTS = [
    *(
        WitnessedPair(f"reference below {keyword}", below(keyword, old), below(keyword, new), request, UNKNOWN, witness)
        for keyword, old, new, request, witness in (
            ("not", {"const": 1}, {"const": 2}, UNKNOWN, 2),
            ("oneOf", {"minimum": 5}, {"minimum": 6}, BREAKS, 5),
            ("contains", I, S, UNKNOWN, [1]),
            ("patternProperties", I, S, UNKNOWN, {"a": 1}),
            ("propertyNames", {"maxLength": 3}, {"maxLength": 2}, UNKNOWN, {"aaa": 1}),
            ("dependentSchemas", {"required": ["b"]}, {"required": ["c"]}, UNKNOWN, {"a": 1, "b": 1}),
        )
    ),
    *(
        WitnessedPair(f"{keyword} beside a reference", obj({"a": {"$ref": "#/$defs/S", **old}}, **{"$defs": BASE}),
                  obj({"a": {"$ref": "#/$defs/S", **new}}, **{"$defs": BASE}), UNKNOWN, UNKNOWN, {"a": "aa"})
        for keyword, old, new in (
            ("enum", {"enum": ["aa", "b"]}, {"enum": ["b"]}),
            ("anyOf", {"anyOf": [{"maxLength": 2}]}, {"anyOf": [{"maxLength": 1}]}),
            ("type", {"type": ["string", "null"]}, {"type": "null"}),
        )
    ),
    *(
        WitnessedPair(f"reference by {ref}", by_id(ref, 3), by_id(ref, 2), BREAKS, OK, {"a": "aaa"})
        for ref in ("http://a.test/item.json", "root.json#/$defs/i%20i", "item.json#it", "#/$defs/i%20i")
    ),
    WitnessedPair("required key that is not declared", CLOSED, CLOSED | {"properties": {"x": S}}, BREAKS, BREAKS, {"x": 1}),
    WitnessedPair("key that is refused", obj({"a": {}}), obj({"a": {}, "b": False}), BREAKS, OK, {"b": 1}),
    WitnessedPair("key that is refused as undeclared", obj({"b": False}, additionalProperties=False), obj({}, additionalProperties=False), OK, OK),
    WitnessedPair("oneOf of a reference to a reference", chained(I), chained({"type": ["integer", "string"]}), UNKNOWN, BREAKS),
    WitnessedPair("exclusiveMinimum of draft 4", obj({"a": {"type": "number", "minimum": 1}}, **{"$schema": DRAFT4}),
                  obj({"a": {"type": "number", "minimum": 1, "exclusiveMinimum": 5}}, **{"$schema": DRAFT4}), BREAKS, OK, {"a": 1}),
    WitnessedPair("exclusiveMinimum that draft 4 ignores", obj({"a": {"type": "number"}}, **{"$schema": DRAFT4}),
                  obj({"a": {"type": "number", "exclusiveMinimum": 5}}, **{"$schema": DRAFT4}), OK, OK),
    WitnessedPair("required inside a property, which draft 7 ignores", obj({"a": S}, **{"$schema": DRAFT7}), obj({"a": S | {"required": True}}, **{"$schema": DRAFT7}), OK, OK),
    WitnessedPair("1 is 1.0 in an object", obj({"a": {"const": {"x": 1}}}), obj({"a": {"const": {"x": 1.0}}}), OK, OK),
    WitnessedPair("values to types", obj({"a": {"enum": [1, "a"]}}), obj({"a": {"type": ["integer", "string"]}}), OK, BREAKS),
    WitnessedPair("no further items, in two ways", array(S, items=False), array(S, maxItems=1), OK, OK),
    WitnessedPair("a union that holds itself", {"title": "Model", "type": ["object", "boolean"], "properties": {"a": {"anyOf": [{"$ref": "#"}, S]}}},
              {"title": "Model", "type": ["object", "boolean"], "properties": {"a": {"anyOf": [{"$ref": "#"}, I]}}}, BREAKS, BREAKS, {"a": "x"}),
    WitnessedPair("definition replaced by its text", obj({"a": {"$ref": "#/$defs/S"}}, **{"$defs": BASE}), obj({"a": S}), OK, OK),
    WitnessedPair("titles below then", {"title": "Model", "if": I, "then": {"title": "A", "minimum": 1}},
              {"title": "Model", "if": I, "then": {"description": "B", "minimum": 1}}, OK, OK),
    WitnessedPair("type beside an enum", obj({"a": {"enum": ["1", 1], "type": "string"}}), obj({"a": {"enum": ["1", 1], "type": "integer"}}),
              BREAKS, BREAKS, {"a": "1"}),
    WitnessedPair("length beside an enum", obj({"a": {"enum": ["a", "bbb"]}}), obj({"a": {"enum": ["a", "bbb"], "maxLength": 2}}), BREAKS, OK, {"a": "bbb"}),
    WitnessedPair("objects as values", obj({"a": {"enum": [{"x": 1}]}}), obj({"a": {"enum": ['{"x":1}']}}), BREAKS, BREAKS, {"a": {"x": 1}}),
    WitnessedPair("1 is 1.0", obj({"a": {"enum": [1]}}), obj({"a": {"enum": [1.0]}}), OK, OK),
    WitnessedPair("oneOf constants to an enum", obj({"a": {"oneOf": [{"const": "a"}, {"const": "b"}]}}), obj({"a": {"enum": ["a", "b"]}}), OK, OK),
    WitnessedPair("oneOf objects told apart by a constant",
              obj({"a": {"oneOf": [obj({"k": {"const": 1}, "x": I}, required=["k"]), obj({"k": {"const": 2}}, required=["k"])]}}),
              obj({"a": {"oneOf": [obj({"k": {"const": 1}, "x": S}, required=["k"]), obj({"k": {"const": 2}}, required=["k"])]}}),
              BREAKS, BREAKS, {"a": {"k": 1, "x": 5}}),
    WitnessedPair("number of properties in an allOf", obj({"x": {"allOf": [obj({"a": S}), obj({"b": S})]}}),
              obj({"x": {"allOf": [obj({"a": S}), obj({"b": S}, maxProperties=1)]}}), UNKNOWN, UNKNOWN, {"x": {"a": "", "b": ""}}),
    WitnessedPair("nothing unevaluated, property removed", obj({"a": S, "b": S}, unevaluatedProperties=False), obj({"a": S}, unevaluatedProperties=False),
              BREAKS, OK, {"b": ""}),
    WitnessedPair("nothing unevaluated beside an allOf", {"title": "Model", "allOf": [obj({"a": S, "b": S})], "unevaluatedProperties": False},
              {"title": "Model", "allOf": [obj({"a": S})], "unevaluatedProperties": False}, UNKNOWN, UNKNOWN, {"b": ""}),
    WitnessedPair("typed undeclared keys, property added", obj({"a": S}, additionalProperties=I), obj({"a": S, "b": S}, additionalProperties=I), OK, BREAKS),
    WitnessedPair("prefix grew", array(S), array(S, I), BREAKS, OK, ["a", "b"]),
    WitnessedPair("closed prefix grew", array(S, items=False), array(S, I, items=False), OK, BREAKS),
    WitnessedPair("nothing became something", obj({"a": False}), obj({"a": S}), OK, BREAKS),
    WitnessedPair("const, which draft 4 does not know", obj({"a": {"const": 1}}, **{"$schema": DRAFT4}), obj({"a": {"const": 1}}, **{"$schema": DRAFT7}),
              BREAKS, OK, {"a": 2}),
    WitnessedPair("prefixItems, which draft 7 does not know", array(S) | {"$schema": DRAFT7}, array(S) | {"$schema": DRAFT2020}, BREAKS, OK, [1]),
    WitnessedPair("dependencies, which 2020-12 does not know", obj({}, dependencies={"a": ["b"]}, **{"$schema": DRAFT2020}),
              obj({}, dependencies={"a": ["b"]}, **{"$schema": DRAFT7}), UNKNOWN, UNKNOWN, {"a": 1}),
    WitnessedPair("beside a reference, which draft 7 ignores", obj({"a": {"$ref": "#/$defs/S", "maxLength": 1}}, **{"$schema": DRAFT7, "$defs": BASE}),
              obj({"a": {"$ref": "#/$defs/S", "maxLength": 1}}, **{"$schema": DRAFT2020, "$defs": BASE}), UNKNOWN, UNKNOWN, {"a": "aa"}),
    WitnessedPair("1.0, no integer to draft 4", obj({"a": I}, **{"$schema": DRAFT7}), obj({"a": I}, **{"$schema": DRAFT4}), BREAKS, OK, {"a": 1.0}),
    WitnessedPair("draft alone", obj({"a": S}, **{"$schema": DRAFT7}), obj({"a": S}, **{"$schema": DRAFT2020}), OK, OK),
]  # fmt: skip


def inner(field: str, body: str = "x = fields.Integer()", more: str = "") -> str:
    """A marshmallow Schema that holds another one."""
    return f"class In(Schema):\n    {body}\nclass Model(Schema):\n    a = {field}\n    {more}"


def one(field: str) -> str:
    return f"class Model(Schema):\n    a = fields.{field}"


NEEDED = "x = fields.Integer(required=True)"
SELF = "class Model(Schema):\n    x = fields.Integer({})\n    a = fields.Nested(lambda: Model(exclude=('y',)))\n    y = fields.Integer()"
GENERATED = "fields.Nested(Schema.from_dict({{'x': fields.{}()}}))"
LOADS = "class Model(Schema):\n    a = fields.Method(deserialize='{0}')\n    def {0}(self, value):\n        return {1}(value)"
TIMES = "class Model(Schema):\n    a = fields.DateTime()\n    class Meta:\n        datetimeformat = {}"
SPLIT = (
    "class F(fields.{0}):\n    def _deserialize(self, value, *args, **more):\n        value = value.split(',') if isinstance(value, str) else value\n"
    "        return super()._deserialize(value, *args, **more)\nclass Model(Schema):\n    a = F({1})"
)
MOST = "class Most(validate.Range):\n    pass\ndef most(n):\n    def check(value):\n        if value > n:\n            raise ValidationError('')\n    return check\n"
LIMITED = """
class F(fields.String):
    def __init__(self, longest):
        self.longest = longest
        super().__init__()
    def _deserialize(self, value, *args, **more):
        if len(value) > self.longest:
            raise ValidationError("")
        return value
"""
KEPT = "Method(deserialize='f', validate=validate.Length(max={}))\n    def f(self, value):\n        return value"
SCHEMAS = [
    WitnessedPair("length of a nested object", inner("fields.Nested(In)"), inner("fields.Nested(In, validate=validate.Length(min=1))"), UNKNOWN, UNKNOWN, {"a": {}}),
    WitnessedPair("bound of a Raw", one("Raw(validate=validate.Range(max=5))"), one("Raw(validate=validate.Range(max=3))"), UNKNOWN, UNKNOWN, {"a": 4}),
    WitnessedPair("pattern of a Raw", one("Raw()"), one("Raw(validate=validate.Email())"), UNKNOWN, UNKNOWN, {"a": "b"}),
    WitnessedPair("length of a Method's value", one(KEPT.format(5)), one(KEPT.format(3)), UNKNOWN, OK, {"a": "abcd"}),
    WitnessedPair("parts of a text", one("String(validate=validate.OneOf('abc'))"), one("String(validate=validate.OneOf(['a', 'b', 'c']))"), BREAKS, BREAKS,
                  {"a": "ab"}),
    WitnessedPair("list with code of its own", SPLIT.format("List", "fields.String()"), one("List(fields.String())"), UNKNOWN, UNKNOWN, {"a": "a,b"}),
    WitnessedPair("tuple with code of its own", SPLIT.format("Tuple", "(fields.String(),)"), one("Tuple((fields.String(),))"), UNKNOWN, UNKNOWN, {"a": "b"}),
    WitnessedPair("argument of a field class", LIMITED + one("String()").replace("fields.String()", "F(3)"), LIMITED + one("String()").replace("fields.String()", "F(2)"),
                  UNKNOWN, UNKNOWN, {"a": "abc"}),
    WitnessedPair("delimiter", one("String()").replace("fields.String()", "DelimitedList(fields.Integer())"),
                  one("String()").replace("fields.String()", "DelimitedList(fields.Integer(), delimiter='|')"), UNKNOWN, UNKNOWN, {"a": "1,2"}),
    WitnessedPair("value that a validator holds", MOST + one("Integer(validate=most(5))"), MOST + one("Integer(validate=most(3))"), UNKNOWN, UNKNOWN, {"a": 4}),
    WitnessedPair("range of a class of its own", MOST + one("Integer(validate=Most(max=5))"), MOST + one("Integer(validate=Most(max=3))"), UNKNOWN, UNKNOWN, {"a": 4}),
    WitnessedPair("relative Url alone", one("Url(relative=True)"), one("Url(relative=True, absolute=False)"), BREAKS, OK, {"a": "http://a.de"}),
    WitnessedPair("value of a field that is only written", inner("fields.Pluck(In, 'x')"), inner("fields.Pluck(In, 'x')", "x = fields.Integer(dump_only=True)"),
                  UNKNOWN, UNKNOWN, {"a": 1}),
    WitnessedPair("code of a schema of which one value is taken", inner("fields.Pluck(In, 'x')"),
                  inner("fields.Pluck(In, 'x')", "x = fields.Integer()\n    @validates_schema\n    def v(self, data, **more):\n        raise ValidationError('')"),
                  UNKNOWN, UNKNOWN, {"a": 1}),
    WitnessedPair("nested: undeclared keys", inner("fields.Nested(In, unknown=EXCLUDE)"), inner("fields.Nested(In)"), BREAKS, OK, {"a": {"z": 1}}),
    WitnessedPair("nested instance: undeclared keys", inner("fields.Nested(In(unknown=EXCLUDE))"), inner("fields.Nested(In)"), BREAKS, OK, {"a": {"z": 1}}),
    WitnessedPair("nested instance: partial", inner("fields.Nested(In(partial=True))", NEEDED), inner("fields.Nested(In)", NEEDED), BREAKS, OK, {"a": {}}),
    WitnessedPair("nested in itself", SELF.format(""), SELF.format("validate=validate.Range(max=3)"), BREAKS, OK, {"a": {"x": 4}}),
    WitnessedPair("two generated schemas", inner(GENERATED.format("Integer"), more="b = " + GENERATED.format("String")),
              inner(GENERATED.format("Integer"), more="b = " + GENERATED.format("Integer")), BREAKS, BREAKS, {"b": {"x": "a"}}),
    WitnessedPair("code of a Method", LOADS.format("one", "str"), LOADS.format("two", "int"), UNKNOWN, OK),
    WitnessedPair("constant to integer", one("Constant(1)"), one("Integer(dump_default=1)"), UNKNOWN, BREAKS, {"a": "x"}),
    WitnessedPair("length beside OneOf", one("String(validate=[validate.OneOf(['a', 'bcd']), validate.Length(max=5)])"),
              one("String(validate=[validate.OneOf(['a', 'bcd']), validate.Length(max=2)])"), BREAKS, OK, {"a": "bcd"}),
    WitnessedPair("integers of OneOf no longer converted", one("Integer(validate=validate.OneOf([1, 2]))"),
              one("Integer(strict=True, validate=validate.OneOf([1, 2]))"), BREAKS, OK, {"a": 1.5}),
    WitnessedPair("two OneOf", one("String(validate=[validate.OneOf(['b', 'c'])])"),
              one("String(validate=[validate.OneOf(['a', 'b']), validate.OneOf(['b', 'c'])])"), BREAKS, OK, {"a": "c"}),
    WitnessedPair("the tighter of two ranges", one("Integer(validate=[validate.Range(min=1)])"),
              one("Integer(validate=[validate.Range(min=3), validate.Range(min=1)])"), BREAKS, OK, {"a": 1}),
    WitnessedPair("schemes of a Url", one("Url()"), one("Url(schemes={'https'})"), BREAKS, OK, {"a": "http://a.de"}),
    WitnessedPair("relative Url", one("Url(relative=True)"), one("Url()"), BREAKS, OK, {"a": "/a"}),
    WitnessedPair("length of a Tuple", one("Tuple((fields.Integer(),))"), one("Tuple((fields.Integer(), fields.Integer()))"), BREAKS, BREAKS, {"a": [1]}),
    WitnessedPair("unit of a TimeDelta", one("TimeDelta()"), one("TimeDelta(precision='days')"), BREAKS, BREAKS, {"a": 2147483648}),
    WitnessedPair("time zone that was filled in", one("AwareDateTime(default_timezone=timezone.utc)"), one("AwareDateTime()"), BREAKS, OK,
              {"a": "2024-01-01T00:00:00"}),
    WitnessedPair("format of a DateTime", TIMES.format("'timestamp'"), TIMES.format("'iso'"), BREAKS, BREAKS, {"a": 1}),
    WitnessedPair("texts that are true", one("Boolean(truthy={'ja'}, falsy={'nein'})"), one("Boolean()"), BREAKS, BREAKS, {"a": "ja"}),
    WitnessedPair("words of an error", one("String(validate=validate.NoneOf(['a'], error='x'))"), one("String(validate=validate.NoneOf(['a'], error='y'))"), OK, OK),
    WitnessedPair("a set of values", one("String(validate=validate.NoneOf({'a', 'b', 'c'}))"), one("String(validate=validate.NoneOf({'c', 'b', 'a'}))"), OK, OK),
    WitnessedPair("method of Field replaced", "class F(fields.Integer):\n    pass\n" + one("Integer()").replace("fields.Integer", "F"),
              "class F(fields.Integer):\n    def deserialize(self, value, *args, **more):\n        raise ValidationError('no')\n"
              + one("Integer()").replace("fields.Integer", "F"), UNKNOWN, UNKNOWN, {"a": 1}),
    WitnessedPair("load replaced", one("Integer()"), one("Integer()") + "\n    def load(self, *args, **more):\n        raise ValidationError('no')", UNKNOWN, UNKNOWN, {}),
]  # fmt: skip

WITNESSED = [*MODELS, *DOCUMENTS, *SCHEMAS]
