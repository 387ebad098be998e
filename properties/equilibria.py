"""Claims about equilibrium solvers: what they return are distributions, equilibria, and where promised all or the best.

A solver's answers are verified, never compared with a list of expected ones: each profile or joint distribution is
clipped and renormalised in rationals, and what an agent can gain by deviating is computed exactly. Where there are
several equilibria, any of them will do, unless the solver declares more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame
from marlspec.properties import equilibrium_checks  # noqa: F401  registers the claims of the two checks
from marlspec.properties.cases import Case, counterexample, search
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.matrix_cases import (
    LARGEST,
    asked,
    chosen,
    drawn_game,
    game_of,
    hard_games,
    number_text,
    numbers_of_agents,
    payoffs_of,
    profile_text,
    smaller_games,
)
from marlspec.properties.procedure import Procedure, array_of, procedure
from marlspec.properties.trial import TargetError, Trial
from marlspec.properties.verdicts import compact
from marlspec.reference.solution.correlated import cce_gap, ce_gap, correlated_equilibrium
from marlspec.reference.solution.nash import Equilibria, deviation_rewards, regret, support_enumeration
from marlspec.reference.solution.profiles import TOLERANCE, checked_joint, checked_profile, joint_rewards

Array = NDArray[Any]
Profile = tuple[Array, ...]
EPSILON = 1e-6  # promised where none is declared
CLOSE = 1e-3  # in each probability: a returned profile this near to an equilibrium stands for it
NASH, CORRELATED, COARSE = CONCEPTS = ("nash", "correlated", "coarse_correlated")
ANSWERS = ("one", "some", "all")
DOMAINS = ("general", "zero_sum", "non_degenerate")
CLEAR = 100_000  # times the bound: a tenth, for payoffs in [-8, 8]
REDRAWS = 30  # until a drawn game is not degenerate
ROLES = ("equilibrium_solver",)
BOOK = "Albrecht et al. 2024, chapter 4"
NASH_THEOREM = f"{BOOK} (Nash equilibrium); Nash 1950: every finite game has one"
METHOD = "fixed hard games and drawn ones, exact in rationals"


@dataclass(frozen=True)
class Solver:
    """A solver with what it declares.

    Attributes:
        target: the procedure.
        concept, answers: as in the role's contract; answers is "one" where it returns a single profile.
        agents: numbers of agents that it takes.
        zero_sum: whether it takes zero-sum games for two agents alone.
        epsilon: the declared regret, None where none is declared.
        best_welfare: whether it promises the equilibrium with the highest sum of rewards.
        takes_degenerate: whether it takes degenerate games; where not, it takes two agents alone.
        slack: how many times the promised regret a counterexample must exceed.
    """

    target: Procedure
    concept: str
    answers: str
    agents: tuple[int, ...]
    zero_sum: bool
    epsilon: float | None
    best_welfare: bool
    takes_degenerate: bool = True
    slack: int = 1

    def bound(self, payoffs: Array) -> Fraction:
        """The regret that it promises: as declared for payoffs in [-8, 8]; else 1e-6 there, in proportion beyond."""
        if self.epsilon is not None:
            return Fraction(self.epsilon)
        return Fraction(EPSILON) * max(Fraction(1), Fraction(np.abs(payoffs).max()) / Fraction(LARGEST))

    def profiles(self, payoffs: Array) -> list[Profile]:
        """Return the profiles that it answers, none where it answers None or an empty list.

        Raises:
            TargetError: an answer of another shape or kind.
        """
        result = asked(self.target, payoffs)
        if self.answers == "one":
            return [] if result is None else [_profile(result, payoffs.shape[1:], "the profile")]
        listed = _listed(result, f'the answer (the target declares answers = "{self.answers}": a list of profiles)')
        return [_profile(entry, payoffs.shape[1:], f"profile {k}") for k, entry in enumerate(listed)]

    def joint(self, payoffs: Array) -> Array:
        """Return the joint distribution [A_1, .., A_n] that it answers."""
        return array_of(asked(self.target, payoffs), payoffs.shape[1:], "the joint distribution")

    def takes(self, case: Case) -> bool:
        """Whether the game is of its domain; drawn and simplified games are zero-sum where they have to be."""
        return self.takes_degenerate or not _equilibria(game_of(case)).degenerate

    def hard_games(self) -> list[Case]:
        """Return the fixed games that it should solve."""
        games = hard_games(self.agents, zero_sum=self.zero_sum, large=self.epsilon is None)
        return [case for case in games if self.takes(case)]

    def drawn_game(self, generator: np.random.Generator, k: int) -> Case:
        """Draw a game that it should solve."""
        for attempt in range(REDRAWS):  # a kind that is always degenerate gives way to others
            kind = k if attempt < 3 else k + attempt
            case = drawn_game(generator, kind, self.agents, zero_sum=self.zero_sum)
            if self.takes(case):
                break
        return case

    def smaller_games(self, case: Case) -> Iterator[Case]:
        """Yield simpler games that it should solve."""
        games = smaller_games(case, self.agents, zero_sum=self.zero_sum)
        return (smaller for smaller in games if self.takes(smaller))


Test = Callable[[Solver, Case], Counterexample | None]


def solver(trial: Trial) -> Solver:
    """Make the trial's solver and read its declarations.

    Raises:
        TargetError: the factory raised, or a declaration that the judge does not know or that contradicts another.
    """
    target = procedure(trial)
    concept = chosen(target, "concept", NASH, CONCEPTS)
    answers = chosen(target, "answers", "one", ANSWERS)
    domain = chosen(target, "domain", "general", DOMAINS)
    agents = numbers_of_agents(target, (2,))
    if concept != NASH and answers != "one":
        raise TargetError(f'the target declares answers = "{answers}" with concept = "{concept}"; return one joint')
    if domain != "general" and agents != (2,):
        raise TargetError(f'the target declares domain = "{domain}" with agents = {agents}; it means two agents')
    best_welfare = target.declared("objective", None) is not None
    if best_welfare:
        chosen(target, "objective", "", ("welfare",))
        if concept == NASH:
            raise TargetError('the target declares an objective with concept = "nash"; correlated ones alone have it')
    return Solver(
        target,
        concept,
        answers,
        agents,
        zero_sum=domain == "zero_sum",
        epsilon=_declared_epsilon(target),
        best_welfare=best_welfare,
        takes_degenerate=domain != "non_degenerate",
    )


def _declared_epsilon(target: Procedure) -> float | None:
    value = target.declared("epsilon", None)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value < 0:
        raise TargetError(f"the target declares epsilon = {value!r}; write a number that is not negative")
    return float(value)


def _listed(result: Any, what: str) -> list[Any]:
    if isinstance(result, (list, tuple)):
        return list(result)
    if isinstance(result, (np.ndarray, torch.Tensor)) and result.ndim:
        return list(result)
    raise TargetError(f"{what} is of type {type(result).__name__}; return a list")


def _profile(result: Any, n_actions: Sequence[int], what: str) -> Profile:
    mixes = _listed(result, what)
    if len(mixes) != len(n_actions):
        raise TargetError(f"{what} holds {len(mixes)} mixes for {len(n_actions)} agents; return one for each agent")
    return tuple(
        array_of(mix, (count,), f"{what}: the mix of agent {i}")
        for i, (mix, count) in enumerate(zip(mixes, n_actions, strict=True))
    )


def _other_concept(made: Solver, *concepts: str) -> Finding:
    wanted = " or ".join(f'"{concept}"' for concept in concepts)
    return Finding(not_applicable=f'the solver declares concept = "{made.concept}"; this is a claim about {wanted}.')


def _broken(game: NormalFormGame, answer: Profile | Array) -> str | None:
    """Say why an answer is no profile of distributions, or no joint distribution."""
    try:
        checked_profile(game, answer) if isinstance(answer, tuple) else checked_joint(game, answer)
    except InputError as error:
        return str(error)
    return None


# --- Nash equilibria --------------------------------------------------------------------------------------------------


def _no_distribution(made: Solver, case: Case) -> Counterexample | None:
    game = game_of(case)
    for profile in made.profiles(payoffs_of(case)):
        broken = _broken(game, profile)
        if broken:
            return counterexample(
                case,
                f"the solver returned {profile_text(profile)}: {broken}",
                f"each mix has entries of at least -{TOLERANCE:g} that sum to 1 within {TOLERANCE:g}",
            )
    return None


@claim(
    "nash.distribution",
    "Every mix that is returned is a distribution: finite, nowhere below -1e-6, with a sum within 1e-6 of one.",
    roles=ROLES,
    cite=f"{BOOK}: a policy gives each action a probability",
    method=METHOD,
    recheck=lambda trial, size, case: _no_distribution(solver(trial), case),
)
def nash_distribution(trial: Trial) -> Finding:
    """NaN, negative probabilities and sums other than one refute."""
    return _judged(trial, (NASH,), _no_distribution, "nash.distribution")


def _nothing(made: Solver, case: Case) -> Counterexample | None:
    if made.profiles(payoffs_of(case)):
        return None
    game = game_of(case)
    known = f", as {profile_text(_equilibria(game).profiles[0])}" if game.n_agents == 2 else ""
    return counterexample(case, "the solver returned no equilibrium", f"at least one: every finite game has one{known}")


@claim(
    "nash.exists",
    "At least one equilibrium is returned for every game.",
    roles=ROLES,
    cite=NASH_THEOREM,
    method=METHOD,
    recheck=lambda trial, size, case: _nothing(solver(trial), case),
)
def nash_exists(trial: Trial) -> Finding:
    """None and an empty list say that there is no equilibrium."""
    return _judged(trial, (NASH,), _nothing, "nash.exists")


def _regretted(made: Solver, case: Case) -> Counterexample | None:
    game, payoffs = game_of(case), payoffs_of(case)
    bound = made.bound(payoffs)
    for profile in made.profiles(payoffs):
        try:
            regrets = regret(game, profile)
        except InputError:  # no distributions: another claim's to say
            continue
        if max(regrets) > made.slack * bound:
            computed = f"the solver returned {profile_text(profile)}: {_best_deviation(game, profile, regrets)}"
            return counterexample(case, computed, f"no agent gains more than {float(bound):.6g} by deviating")
    return None


def _best_deviation(game: NormalFormGame, profile: Profile, regrets: Array) -> str:
    i = int(np.argmax(regrets))
    action = int(np.argmax(deviation_rewards(game, profile)[i]))
    return f"agent {i} gains {number_text(regrets[i])} by playing its action {action} instead"


@claim(
    "nash.regret",
    "In every profile that is returned no agent gains more than epsilon by changing its own mix alone; epsilon is as "
    "declared, else 1e-6 for payoffs in [-8, 8] and in proportion beyond.",
    roles=ROLES,
    cite=f"{BOOK} (Nash equilibrium, epsilon-Nash equilibrium)",
    method="exact regret in rationals of the clipped and renormalised profile, in fixed hard games and drawn ones",
    recheck=lambda trial, size, case: _regretted(solver(trial), case),
    requires=("nash.distribution",),
)
def nash_regret(trial: Trial) -> Finding:
    """Exact regret of all returned profiles that are distributions."""
    return _judged(trial, (NASH,), _regretted, "nash.regret")


def _incomplete(made: Solver, case: Case) -> Counterexample | None:
    found = _equilibria(game_of(case))
    if found.degenerate:
        return None
    returned = made.profiles(payoffs_of(case))
    for equilibrium in found.profiles:
        if not any(_distance(equilibrium, profile) <= CLOSE for profile in returned):
            return counterexample(
                case,
                f"{profile_text(equilibrium)} is not among the {len(returned)} profiles that the solver returned",
                f"all equilibria of a game that is not degenerate, {len(found.profiles)} here",
            )
    return None


@claim(
    "nash.complete",
    'A solver that declares answers = "all" returns every equilibrium of a game for two agents that is not degenerate.',
    roles=ROLES,
    cite=f"{BOOK} (Nash equilibrium); Lemke and Howson 1964: their number is finite and odd",
    method="exact enumeration of all equilibria; one counts as returned where a profile is within 1e-3 of it",
    recheck=lambda trial, size, case: _incomplete(solver(trial), case),
    requires=("nash.distribution",),
)
def nash_complete(trial: Trial) -> Finding:
    """Every exact equilibrium has a returned profile beside it."""
    made = solver(trial)
    if made.concept != NASH:
        return _other_concept(made, NASH)
    if made.answers != "all":
        return Finding(not_applicable=f'the solver declares answers = "{made.answers}"; only "all" promises this.')
    if 2 not in made.agents:
        return Finding(not_applicable="all equilibria are known exactly for two agents only, which it does not take.")
    if made.epsilon is not None and made.epsilon > EPSILON:
        reason = f"with epsilon = {made.epsilon:g} a profile need not lie beside the equilibrium that it stands for."
        return Finding(not_applicable=reason)
    regular = replace(made, agents=(2,), takes_degenerate=False)
    return search(
        trial,
        regular.drawn_game,
        lambda case: _incomplete(regular, case),
        method="exact enumeration of all equilibria",
        smaller=regular.smaller_games,
        always=regular.hard_games(),
        key="nash.complete",
    )


@lru_cache(maxsize=512)
def _equilibria(game: NormalFormGame) -> Equilibria:
    return support_enumeration(game)


def _distance(equilibrium: Profile, profile: Profile) -> float:
    pairs = zip(equilibrium, profile, strict=True)
    return max(float(np.abs(exact.astype(np.float64) - mix).max()) for exact, mix in pairs)


# --- correlated equilibria --------------------------------------------------------------------------------------------


def _no_joint_distribution(made: Solver, case: Case) -> Counterexample | None:
    joint = made.joint(payoffs_of(case))
    broken = _broken(game_of(case), joint)
    if broken is None:
        return None
    required = f"probabilities of at least -{TOLERANCE:g} that sum to 1 within {TOLERANCE:g}"
    return counterexample(case, f"the solver returned {compact(joint.tolist())}: {broken}", required)


@claim(
    "ce.distribution",
    "What is returned is a distribution over joint actions: finite, nowhere below -1e-6, its sum within 1e-6 of one.",
    roles=ROLES,
    cite=f"{BOOK}: a joint policy gives each joint action a probability",
    method=METHOD,
    recheck=lambda trial, size, case: _no_joint_distribution(solver(trial), case),
)
def ce_distribution(trial: Trial) -> Finding:
    """NaN, negative probabilities and sums other than one refute."""
    return _judged(trial, (CORRELATED, COARSE), _no_joint_distribution, "ce.distribution")


def _gap(made: Solver, case: Case) -> Counterexample | None:
    game, payoffs = game_of(case), payoffs_of(case)
    joint = made.joint(payoffs)
    if _broken(game, joint):
        return None
    coarse = made.concept == COARSE
    gap, bound = (cce_gap if coarse else ce_gap)(game, joint), made.bound(payoffs)
    if gap <= made.slack * bound:
        return None
    computed = f"the solver returned {compact(joint.tolist())}: {_best_rule(payoffs, joint, coarse)}"
    rule = "playing one fixed action" if coarse else "replacing actions that it is told to play"
    return counterexample(case, computed, f"no agent gains more than {float(bound):.6g} by {rule}")


def _best_rule(payoffs: Array, joint: Array, coarse: bool) -> str:
    """Say who gains most, by playing what (where told what)."""
    tables = [_gains_by_rule(table, joint, i) for i, table in enumerate(payoffs)]  # each [told, played]
    rules = [table.sum(axis=0, keepdims=True) if coarse else table for table in tables]
    gains = [table.max(axis=1).sum() for table in rules]
    i = int(np.argmax(gains))
    if coarse:
        return (
            f"agent {i} gains {number_text(gains[i])} by playing its action {rules[i][0].argmax()} whatever it is told"
        )
    swaps = [f"{row.argmax()} where told {told}" for told, row in enumerate(rules[i]) if row.max() > 0]
    return f"agent {i} gains {number_text(gains[i])} by playing {', '.join(swaps)}"


def _gains_by_rule(table: Array, joint: Array, i: int) -> Array:
    rewards, weights = (np.moveaxis(values, i, 0).reshape(values.shape[i], -1) for values in (table, joint))
    totals = weights @ rewards.T
    gains: Array = totals - totals.diagonal()[:, None]
    return gains


@claim(
    "ce.gap",
    "In the joint distribution that a solver of correlated equilibria returns, no agent gains more than epsilon by "
    "replacing the actions recommended to it by others; epsilon as in nash.regret.",
    roles=ROLES,
    cite=f"{BOOK} (correlated equilibrium)",
    method="exact gain in rationals over all rules from recommended to played actions",
    recheck=lambda trial, size, case: _gap(solver(trial), case),
    requires=("ce.distribution",),
)
def ce_gap_claim(trial: Trial) -> Finding:
    """Exact gain of the best swap of actions."""
    return _judged(trial, (CORRELATED,), _gap, "ce.gap")


@claim(
    "cce.gap",
    "In the joint distribution that a solver of coarse correlated equilibria returns, no agent gains more than epsilon "
    "by playing one fixed action instead; epsilon as in nash.regret.",
    roles=ROLES,
    cite=f"{BOOK} (coarse correlated equilibrium)",
    method="exact gain in rationals over all fixed actions",
    recheck=lambda trial, size, case: _gap(solver(trial), case),
    requires=("ce.distribution",),
)
def cce_gap_claim(trial: Trial) -> Finding:
    """Exact gain of the best fixed action."""
    return _judged(trial, (COARSE,), _gap, "cce.gap")


def _poorer(made: Solver, case: Case) -> Counterexample | None:
    game, payoffs = game_of(case), payoffs_of(case)
    joint = made.joint(payoffs)
    best = correlated_equilibrium(game, "welfare", coarse=made.concept == COARSE)
    if best.gap > 0 or _broken(game, joint):
        return None
    welfare = sum(joint_rewards(game, joint), Fraction())
    if welfare >= best.value - made.slack * made.bound(payoffs):
        return None
    computed = f"the solver returned {compact(joint.tolist())}, with welfare {number_text(welfare)}"
    required = f"welfare {number_text(best.value)}, as of {compact(best.joint.astype(np.float64).tolist())}"
    return counterexample(case, computed, required)


@claim(
    "ce.objective",
    'A solver that declares objective = "welfare" reaches, up to epsilon, the highest expected sum of rewards of all '
    "correlated equilibria, or of all coarse ones where that is its concept.",
    roles=ROLES,
    cite=f"{BOOK} (correlated equilibrium by linear program; welfare)",
    method="against the best equilibrium by linear program, which is verified in rationals",
    recheck=lambda trial, size, case: _poorer(solver(trial), case),
    requires=("ce.distribution", "ce.gap", "cce.gap"),
)
def ce_objective(trial: Trial) -> Finding:
    """Welfare against the exact optimum."""
    made = solver(trial)
    if made.concept != NASH and not made.best_welfare:
        return Finding(not_applicable='the solver declares no objective; objective = "welfare" promises this.')
    return _judged(trial, (CORRELATED, COARSE), _poorer, "ce.objective")


# --- shared -----------------------------------------------------------------------------------------------------------


def _judged(trial: Trial, concepts: Sequence[str], test: Test, key: str) -> Finding:
    """Run a test on fixed and drawn games, where the solver is of one of the concepts."""
    made = solver(trial)
    if made.concept not in concepts:
        return _other_concept(made, *concepts)
    return search(
        trial,
        made.drawn_game,
        _staying_clear(made, test),
        method="exact in rationals, fixed and drawn games",
        smaller=made.smaller_games,
        always=made.hard_games(),
        key=key,
    )


def _staying_clear(made: Solver, test: Test) -> Callable[[Case], Counterexample | None]:
    """A counterexample far beyond the bound is not made smaller into one that is near it."""
    strict = replace(made, slack=CLEAR)
    current = made

    def tested(case: Case) -> Counterexample | None:
        nonlocal current
        found = test(current, case)
        if found is not None and current is made and test(strict, case) is not None:
            current = strict
        return found

    return tested
