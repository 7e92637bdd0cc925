"""What a run of traffic sent and got back: the ground truth that telemetry is held to."""

import json
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple


class Cache(NamedTuple):
    """Validations that found their validator built (hits), and that were a new validator's first (misses)."""

    hits: int
    misses: int


class Figures(NamedTuple):
    """The three figures that people watch, as fractions of 1.

    Attributes:
        error_rate: failed validations per request.
        cache_hit_rate: validations that found their validator built, of all validations.
        slow_share: validations that run the unindexed look-up, per request.
    """

    error_rate: float
    cache_hit_rate: float
    slow_share: float


@dataclass
class Truth:
    """Counts of one or more runs; `a + b` is the truth of both.

    An endpoint is `"METHOD /route/{template}"`, or `"METHOD "` where no route matched. A validation is the outermost
    call into a validator, named after its schema. Keys that were never counted read 0.

    Attributes:
        requests: by endpoint.
        statuses: responses by status code.
        validators: validations by (endpoint, schema), of validators that live as long as their process. Each pair is
            one validator object in the app: FastAPI builds its own for every parameter, body and response of a route.
        rebuilt: validations by (endpoint, schema) whose validator was built for that one call.
        failures: validations by (endpoint, schema) that found the data invalid.
        problems: failed fields by (schema, templated path, rule). The path of the whole value is `$`.
        slow: validations by schema that ran the unindexed look-up.
        queries: database queries by schema that ran during its validations.
    """

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    validators: Counter[tuple[str, str]] = field(default_factory=Counter)
    rebuilt: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    slow: Counter[str] = field(default_factory=Counter)
    queries: Counter[str] = field(default_factory=Counter)

    @property
    def validations(self) -> Counter[str]:
        """Validations by schema."""
        counts: Counter[str] = Counter()
        for (_endpoint, schema), count in (self.validators + self.rebuilt).items():
            counts[schema] += count
        return counts

    @property
    def cache(self) -> Cache:
        """Hits and misses of one process that served all of this traffic, and nothing before it.

        With N processes the misses lie between this and `len(validators)` x (N - 1) more: which process was the
        first to use which validator is up to the kernel that hands out connections. The sum does not change.
        """
        misses = len(self.validators) + self.rebuilt.total()
        return Cache(self.validators.total() + self.rebuilt.total() - misses, misses)

    @property
    def figures(self) -> Figures:
        """The figures of this traffic.

        Raises:
            ZeroDivisionError: if nothing was sent.
        """
        requests = self.requests.total()
        return Figures(
            error_rate=self.failures.total() / requests,
            cache_hit_rate=self.cache.hits / sum(self.cache),
            slow_share=self.slow.total() / requests,
        )

    def __add__(self, other: "Truth") -> "Truth":
        return Truth(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})

    def to_json(self) -> str:
        """Every count as a list of [key, count], since JSON has no keys that are tuples or numbers."""
        return json.dumps({one.name: sorted(getattr(self, one.name).items()) for one in fields(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Truth":
        """The inverse of `to_json`.

        Raises:
            ValueError: if the text is not JSON.
            TypeError: if it is not the JSON of a Truth.
        """
        counts: dict[str, list[tuple[Any, int]]] = json.loads(text)
        return cls(
            **{
                name: Counter({tuple(key) if isinstance(key, list) else key: count for key, count in pairs})
                for name, pairs in counts.items()
            }
        )
