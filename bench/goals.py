"""What was aimed at, held against what a record and the comparisons with peers say."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from .peers.results import latest
from .records import Record
from .workloads import CAPTURED, COMPILED, PLAIN

Peers: TypeAlias = Mapping[str, Mapping[str, Any]]
MANY = 256  # copies from which on peers are compared


@dataclass(frozen=True)
class Goal:
    """A goal.

    Attributes:
        what: in words.
        bound: for every figure.
        figures: those that there are.
        at_most: whether the bound is one from above.
    """

    what: str
    bound: float
    figures: Callable[[Record, Peers], Iterable[float]]
    at_most: bool = False

    def row(self, record: Record, peers: Peers) -> str:
        """Return the goal's row of the table."""
        found = sorted(self.figures(record, peers))
        word = "at most" if self.at_most else "at least"
        told = " to ".join(f"{value:.3g}" for value in dict.fromkeys([*found[:1], *found[-1:]]))
        return f"| {self.what} | {word} {self.bound:g} | {told} | {self._verdict(found)} |"

    def _verdict(self, found: Sequence[float]) -> str:
        if not found:
            return "not measured"
        reached = found[-1] <= self.bound if self.at_most else found[0] >= self.bound
        return "reached" if reached else "missed"


def told(record: Record, folder: Path) -> list[str]:
    """Return the section on goals; nothing where no training was measured."""
    trained = [own for own in record.workloads.values() if own.name.startswith("W1/")]
    if not trained:
        return []
    peers = latest(folder)
    goals = GOALS[trained[0].facts["device"]]
    return [
        "### Goals",
        "",
        "From the figures below; the worst of them decides. With peers compiled steps are compared, those with",
        f"{MANY} copies or more where K is not named.",
        "",
        "| comparison | goal | measured | |",
        "|---|---|---|---|",
        *(goal.row(record, peers) for goal in goals),
        "",
    ]


def _beside(peer: str, copies: int = MANY) -> Callable[[Record, Peers], Iterable[float]]:
    def ratios(record: Record, peers: Peers) -> Iterable[float]:
        results = peers[peer]["results"] if peer in peers else ()
        return [own["ratio"] for own in results if own["form"] != PLAIN and own["copies"] >= copies]

    return ratios


def _over_eager(form: str) -> Callable[[Record, Peers], Iterable[float]]:
    """How many times as fast as eager steps the steps of a form are, with 256 copies."""
    names = [f"W1/{algorithm}/K=256" for algorithm in ("vdn", "qmix")]

    def ratios(record: Record, peers: Peers) -> Iterable[float]:
        steps = record.workloads
        return [
            steps[f"{name}/{PLAIN}"].seconds / steps[f"{name}/{form}"].seconds
            for name in names
            if f"{name}/{PLAIN}" in steps and f"{name}/{form}" in steps
        ]

    return ratios


def _gaps(record: Record, peers: Peers) -> Iterable[float]:
    for own in record.workloads.values():
        facts = own.facts
        if own.name.startswith("W1/") and facts.get("form") == COMPILED and facts["copies"] >= MANY:
            yield own.seconds / facts["floor"]["seconds"]


def _throughput_of_16_seeds(record: Record, peers: Peers) -> Iterable[float]:
    for algorithm in ("vdn", "qmix"):
        one, many = (record.workloads.get(f"W4/{algorithm}/seeds={seeds}/{CAPTURED}") for seeds in (1, 16))
        if one and many:
            speeds = [own.facts["env_steps_per_step"] / own.seconds for own in (one, many)]
            yield speeds[1] / speeds[0]


GOALS = {
    "cpu": (
        Goal("W1 over JaxMARL's vdn_ff", 3, _beside("jaxmarl_vdn")),
        Goal("W1 over a JAX loop written by hand", 1.5, _beside("jax_scan")),
        Goal("W1, any K: over BenchMARL", 15, _beside("benchmarl_loop", copies=1)),
        Goal("W2 over EPyMARL", 6, _beside("epymarl", copies=1)),
        Goal("W1, K = 256: compiled over our own eager steps", 2.5, _over_eager(COMPILED)),
        Goal("W1 compiled: time over the floor of products and copies", 4, _gaps, at_most=True),
    ),
    "cuda": (
        Goal("W1 over JaxMARL's vdn_ff", 1, _beside("jaxmarl_vdn")),
        Goal("W1, K = 256: CUDA graphs over our own eager steps", 5, _over_eager(CAPTURED)),
        Goal("W4: throughput of 16 seeds over that of 1", 8, _throughput_of_16_seeds),
    ),
}
