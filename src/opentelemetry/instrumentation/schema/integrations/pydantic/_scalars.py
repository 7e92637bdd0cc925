"""The types that are no more than a kind, with a format or without."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import ipaddress
import re
import uuid
from typing import Any

from ..._schemas.fields import TypeSpec

SCALARS: dict[Any, TypeSpec] = {
    Any: TypeSpec(kind="any"),
    object: TypeSpec(kind="any"),
    None: TypeSpec(kind="null"),
    type(None): TypeSpec(kind="null"),
    bool: TypeSpec(kind="boolean"),
    int: TypeSpec(kind="integer"),
    float: TypeSpec(kind="number"),
    decimal.Decimal: TypeSpec(kind="decimal", finite=True),
    str: TypeSpec(kind="string"),
    bytes: TypeSpec(kind="bytes"),
    datetime.date: TypeSpec(kind="date"),
    datetime.time: TypeSpec(kind="time"),
    datetime.datetime: TypeSpec(kind="datetime"),
    datetime.timedelta: TypeSpec(kind="duration"),
    uuid.UUID: TypeSpec(kind="uuid"),
    fractions.Fraction: TypeSpec(kind="string", format="fraction"),
    re.Pattern: TypeSpec(kind="string", format="regex"),
    list: TypeSpec(kind="list"),
    set: TypeSpec(kind="set"),
    frozenset: TypeSpec(kind="set"),
    tuple: TypeSpec(kind="tuple"),
    dict: TypeSpec(kind="map"),
    collections.deque: TypeSpec(kind="list"),
    ipaddress.IPv4Address: TypeSpec(kind="string", format="ipv4"),
    ipaddress.IPv6Address: TypeSpec(kind="string", format="ipv6"),
    ipaddress.IPv4Network: TypeSpec(kind="string", format="ipv4-network"),
    ipaddress.IPv6Network: TypeSpec(kind="string", format="ipv6-network"),
    ipaddress.IPv4Interface: TypeSpec(kind="string", format="ipv4-interface"),
    ipaddress.IPv6Interface: TypeSpec(kind="string", format="ipv6-interface"),
}

# By name: their classes were moved between modules of Pydantic.
PYDANTIC: dict[str, TypeSpec] = {
    "EmailStr": TypeSpec(kind="string", format="email"),
    "NameEmail": TypeSpec(kind="string", format="name-email"),
    "SecretStr": TypeSpec(kind="string", format="password"),
    "SecretBytes": TypeSpec(kind="bytes", format="password"),
    "IPvAnyAddress": TypeSpec(kind="string", format="ip"),
    "IPvAnyInterface": TypeSpec(kind="string", format="ip-interface"),
    "IPvAnyNetwork": TypeSpec(kind="string", format="ip-network"),
    "AwareDatetime": TypeSpec(kind="datetime", timezone="aware"),
    "NaiveDatetime": TypeSpec(kind="datetime", timezone="naive"),
    "PastDatetime": TypeSpec(kind="datetime", precision="past"),
    "FutureDatetime": TypeSpec(kind="datetime", precision="future"),
    "PastDate": TypeSpec(kind="date", precision="past"),
    "FutureDate": TypeSpec(kind="date", precision="future"),
}
