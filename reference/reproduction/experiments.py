"""Which tables and figures of the sources are reproduced, with what settings."""

from dataclasses import dataclass, field
from typing import Any

from marlspec.errors import InputError


@dataclass(frozen=True)
class Curve:
    """One algorithm of a figure.

    Attributes:
        algorithm: its name, as in `marlspec list`.
        label: what the figure calls it.
        settings: what differs from the experiment's settings.
        steps: passes of its main loop in the full run.
        published: the return at which the source's own run ends; None where the source prints no number.
    """

    algorithm: str
    label: str
    steps: int
    settings: dict[str, Any] = field(default_factory=dict)
    published: float | None = None


@dataclass(frozen=True)
class Figure:
    """Learning curves of several algorithms on one game.

    Attributes:
        name: as given to `marlspec reproduce`.
        title, caption: what the figure shows; the caption says what the source found.
        source: where it is printed.
        game: as given to `marlspec train`.
        curves: the algorithms.
        settings: settings that all share; the others are the algorithms' defaults.
        reference_lines: returns that mean something in this game, by what they are.
        lowest_shown: where the figure's axis begins, if the first returns are too far below to see the others.
        above: which algorithm ends above which, by the source.
        source_settings: with what settings the source made its own figure.
        account: how our settings came about, and why the figure does not show what the source's does where it does not.
    """

    name: str
    title: str
    caption: str
    source: str
    game: str
    curves: tuple[Curve, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    reference_lines: dict[str, float] = field(default_factory=dict)
    lowest_shown: float | None = None
    above: tuple[tuple[str, str], ...] = ()
    source_settings: str = "the source prints none"
    account: str = ""


@dataclass(frozen=True)
class Tables:
    """Learned joint tables of VDN and QMIX on matrix and staged games.

    Attributes:
        name: as given to `marlspec reproduce`.
        title, caption, source: as of a figure.
        games: the games.
        steps: time steps of every run.
        settings: settings that differ from the algorithms' defaults.
    """

    name: str
    title: str
    caption: str
    source: str
    games: tuple[str, ...]
    steps: int
    settings: dict[str, Any] = field(default_factory=dict)


LECTURE = "lecture to Albrecht, Christianos, Schäfer 2024"
SEEDS = 10

EXPERIMENTS: dict[str, Figure | Tables] = {
    experiment.name: experiment
    for experiment in (
        Tables(
            name="decomposition",
            title="Value decomposition in matrix games",
            caption="VDN fits the best sum of utilities, QMIX the best monotone function that its mixing network "
            "finds. In Climbing neither finds the best joint action. Of the two-step game the first state is shown, "
            "and the optimal action values stand in place of the best fit.",
            source=f"{LECTURE}; the book's figures 9.10 to 9.15",
            games=("linear", "monotonic", "climbing", "two-step-book"),
            steps=20_000,
            settings={"gamma": 1.0},
        ),
        Figure(
            name="climbing",
            title="Climbing: which equilibrium is found",
            caption="Centralised A2C ends in the Pareto-dominated equilibrium (B, B), worth 7; Pareto actor-critic, "
            "whose critics assume that the others cooperate, in the Pareto-optimal one (A, A), worth 11.",
            source=f"{LECTURE}: Pareto Actor-Critic for Equilibrium Selection in Climbing Game",
            game="climbing",
            curves=(
                Curve("ca2c", "Centralised A2C", 12_000, published=7.0),
                Curve("pareto_ac", "Pareto-AC", 12_000, settings={"n_steps": 1}, published=11.0),
            ),
            settings={"learning_rate": 1e-3, "critic_learning_rate": 1e-2, "copies": 256, "hidden": (32,)},
            reference_lines={"(A, A)": 11.0, "(B, B)": 7.0, "(C, B)": 6.0},
            above=(("pareto_ac", "ca2c"),),
            source_settings="the lecture prints none; Pareto-AC's paper and code play episodes of 25 steps in 10 "
            "copies with rollouts of 10 steps, both learning rates 3e-4 and the same entropy coefficient 20 to 0.01",
        ),
        Figure(
            name="speaker-listener",
            title="Speaker-listener: what a centralised critic brings",
            caption="The listener hears only the speaker, the speaker cannot move. The source finds that centralised "
            "critics lead to higher returns than independent ones.",
            source=f"{LECTURE}: Centralised critics, empirical results",
            game="speaker-listener",
            curves=(
                Curve("ia2c", "Independent A2C", 12_000),
                Curve("ca2c", "Centralised A2C", 12_000),
            ),
            settings={"gamma": 0.9, "learning_rate": 1e-3, "critic_learning_rate": 5e-3, "copies": 256},
            lowest_shown=-25.0,
            above=(("ca2c", "ia2c"),),
            account="The settings were chosen on centralised A2C with 4 and 5 seeds. With gamma = 0.99 (learning "
            "rates 7e-4 and 2e-3 with 32 copies, 1e-4 and 1e-3 with 64) both algorithms stay below -15 or "
            "become worse again: the critics' errors are larger than what one message changes. With gamma = "
            "0.9 and 64 copies (3e-4 and 3e-3) centralised A2C does not learn what the message is for within "
            "7 000 steps.",
        ),
        Figure(
            name="foraging",
            title="Level-based foraging, 8x8, two players, three items",
            caption="The source finds that VDN and QMIX learn faster than independent deep Q-networks.",
            source=f"{LECTURE}: value decomposition in level-based foraging",
            game="foraging:8x8-2p-3f-coop",
            curves=(
                Curve("idqn", "IDQN", 50_000),
                Curve("vdn", "VDN", 50_000),
                Curve("qmix", "QMIX", 50_000),
            ),
            settings={
                "gamma": 0.9,
                "copies": 16,
                "capacity": 100_000,
                "batch_size": 128,
                "learning_rate": 1e-3,
                "epsilon_start": 1.0,
                "epsilon_end": 0.05,
                "epsilon_steps": 6_000,
            },
            reference_lines={"all food": 1.0},
            above=(("vdn", "idqn"), ("qmix", "idqn")),
            account="The settings were chosen on VDN with 3 seeds: with gamma = 0.99 it reached at most 0.13 in 480 "
            "000 time steps (learning rate 1e-3; also 32 copies with batches of 256), with gamma = 0.9 twice "
            "that in half of them. All three algorithms have the same settings, which suit IDQN as well as "
            "VDN. QMIX needs its time to forget how it begins: its hypernetworks are single linear layers of "
            "the state as it is, coordinates up to 7, so that the mixing networks begin steep (after 1 000 "
            "updates Q_tot still rises by about 27 for each unit of a utility, and stands at about 55, where "
            "no return exceeds 1), and by bootstrapping Q_tot shrinks by no more than gamma with each copy of "
            "the target network. An embedding of 4 units, or a copy every 40 updates, did not help within 6 "
            "000 to 9 000 steps.",
        ),
    )
}


def experiment_named(name: str) -> Figure | Tables:
    """Return an experiment.

    Raises:
        InputError: no such experiment.
    """
    if name not in EXPERIMENTS:
        raise InputError(f"no experiment is named {name!r}: the experiments are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
