"""Named mixes of traffic, and the figures that each of them promises."""

from dataclasses import dataclass
from random import Random

from leads_api import exchanges as kinds
from leads_api.exchanges import Kind
from leads_api.truth import Figures


@dataclass(frozen=True)
class Phase:
    """A stretch of a mix: its share of the requests, and how often each kind comes relative to the others."""

    share: float
    weights: dict[Kind, float]


@dataclass(frozen=True)
class Mix:
    """Traffic of a known make-up.

    Attributes:
        description: what it is for.
        phases: one after the other.
        expected: the figures of a run of any length, but for the misses of the first use of each validator.
        tolerance: how far each figure may be off, up or down, in a run of at least `enough` requests on one process.
        enough: requests from which on the figures hold.
    """

    description: str
    phases: tuple[Phase, ...]
    expected: Figures
    tolerance: Figures
    enough: int

    def plan(self, rng: Random, requests: int) -> list[Kind]:
        """The kinds to send, in order.

        First a lead, which the others may then read, then each phase in exact proportion, shuffled.
        """
        plan: list[Kind] = [kinds.create]
        lengths = _apportion([phase.share for phase in self.phases], requests - 1)
        for phase, length in zip(self.phases, lengths, strict=True):
            counts = _apportion(list(phase.weights.values()), length)
            dealt = [kind for kind, count in zip(phase.weights, counts, strict=True) for _ in range(count)]
            rng.shuffle(dealt)
            plan += dealt
        return plan


def _apportion(weights: list[float], total: int) -> list[int]:
    """Whole numbers that add up to total, in proportion to the weights (largest remainder; ties to the earlier)."""
    exact = [weight * total / sum(weights) for weight in weights]
    whole = [int(one) for one in exact]
    by_remainder = sorted(range(len(weights)), key=lambda index: whole[index] - exact[index])
    for index in by_remainder[: total - sum(whole)]:
        whole[index] += 1
    return whole


STEADY = {
    kinds.create: 30,
    kinds.list_leads: 12,
    kinds.search: 6,
    kinds.read: 20,
    kinds.enrich: 8,
    kinds.bulk_import: 2,
    kinds.webhook: 6,
    kinds.verify: 12,
    kinds.health: 2.2,
    kinds.quote: 1,
    # of verified leads these are 2.4 %, so their own p95 is quick too
    kinds.verify_alias: 0.3,
    kinds.read_nobody: 0.3,
    kinds.create_wrong: 0.1,
    kinds.webhook_wrong: 0.1,
}

MIXES = {
    "demo": Mix(
        "everything: each endpoint, each failure, the slow path and the wasteful endpoint",
        (
            Phase(
                1,
                {
                    kinds.create: 20,
                    kinds.create_wrong: 4,
                    kinds.create_without_consent: 1,
                    kinds.create_garbled: 0.5,
                    kinds.list_leads: 7,
                    kinds.search: 5,
                    kinds.search_wrong: 1,
                    kinds.read: 12,
                    kinds.read_nobody: 1,
                    kinds.read_wrong: 1,
                    kinds.enrich: 6,
                    kinds.enrich_wrong: 1,
                    kinds.enrich_legacy: 1,
                    kinds.bulk_import: 4,
                    kinds.bulk_import_wrong: 1.5,
                    kinds.webhook: 8,
                    kinds.webhook_wrong: 2,
                    kinds.webhook_stranger: 0.5,
                    kinds.verify: 4,
                    kinds.verify_alias: 5,
                    kinds.verify_known: 1,
                    kinds.verify_known_alias: 1,
                    kinds.quote: 9,
                    kinds.quote_wrong: 1,
                    kinds.health: 2,
                    kinds.lost: 0.5,
                },
            ),
        ),
        expected=Figures(error_rate=0.165, cache_hit_rate=0.95, slow_share=0.06),
        tolerance=Figures(0.01, 0.03, 0.005),
        enough=500,
    ),
    "steady": Mix(
        "a quiet day: failures < 0.5 % of requests, slow path < 2 %, cache hits > 95 %",
        (Phase(1, STEADY),),
        expected=Figures(error_rate=0.002, cache_hit_rate=0.995, slow_share=0.003),
        tolerance=Figures(0.002, 0.02, 0.002),
        enough=1000,
    ),
    "incident": Mix(
        "quiet for two fifths; then clients lack a field that became required, and aliases take the slow path",
        (
            Phase(0.4, STEADY),
            Phase(0.6, STEADY | {kinds.create: 10, kinds.create_without_consent: 20, kinds.verify_alias: 12}),
        ),
        expected=Figures(error_rate=0.11, cache_hit_rate=0.99, slow_share=0.065),
        tolerance=Figures(0.01, 0.02, 0.01),
        enough=500,
    ),
}
