"""What a deep run prints at its end: returns of greedy episodes, joint actions, and joint values where it has them."""

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from marlspec.games.batched import StagedState
from marlspec.games.batched_catalogue import is_exact
from marlspec.games.catalogue import get
from marlspec.games.matrix import JointAction, NormalFormGame
from marlspec.games.staged import TERMINAL, StagedGame, as_staged
from marlspec.reference.listing import algorithm_files
from marlspec.reference.parts.enumeration import joint_table, utility_table
from marlspec.reference.parts.evaluation import evaluate, interval, seed_of_evaluation
from marlspec.reference.parts.learner import ActorLearner, Learner, ValueLearner
from marlspec.reference.parts.randomness import restored_afterwards
from marlspec.reference.parts.tables import table
from marlspec.reference.parts.training import Run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHOWN_ROWS = 32


def report(run: Run[Learner], algorithm: str, game_name: str, console: "Console") -> None:
    """Print what a finished run has learned.

    Of a matrix or staged game: where values of joint actions were learned from single observations, all of them beside
    the game's; else the joint actions of a greedy episode. Of every game the returns of greedy episodes.
    """
    learner, config = run.learner, run.learner.config
    speed = config.steps / run.seconds if run.seconds > 0 else 0
    console.print(f"{config.steps} steps of {config.seeds} seeds in {run.seconds:.1f} s ({speed:.0f} steps/s)\n")
    game = get(game_name) if is_exact(game_name) else None
    if isinstance(game, NormalFormGame | StagedGame):
        if _has_joint_values(learner, algorithm):
            _report_values(learner, game, console)
        else:
            console.print(_greedy_episodes(learner, game))
    console.print(_returns(run))


def _has_joint_values(learner: Learner, algorithm: str) -> bool:
    """Whether the learner holds values of joint actions for each stage; histories are then no longer than a stage."""
    decomposes = algorithm_files()[algorithm].parent.name == "decomposition" and isinstance(learner, ValueLearner)
    return decomposes and isinstance(learner.game.reset(1), StagedState)


def _returns(run: Run[Learner]) -> "Table":
    """Lay out the returns of greedy episodes: one row for each agent, or one for all where the reward is common."""
    learner, episodes = run.learner, run.options.episodes
    evaluation = run.evaluation or evaluate(learner, episodes, seed_of_evaluation(learner.config.seed, run.done))
    columns = ["agent", "mean", "95 % interval", "lowest seed", "highest seed", "steps"]
    result = table(f"Returns of {episodes} greedy episodes of each seed", columns)
    returns = evaluation.returns[:, :1] if learner.game.common_reward else evaluation.returns
    for i, own in enumerate(returns.T):
        around = interval(own)
        reach = "-" if around.half is None else f"{around.mean - around.half:.6g} to {around.mean + around.half:.6g}"
        name = "all" if learner.game.common_reward else str(i + 1)
        steps = f"{evaluation.lengths.mean().item():.6g}"
        result.add_row(name, f"{around.mean:.6g}", reach, f"{own.min().item():.6g}", f"{own.max().item():.6g}", steps)
    seeds = learner.config.seeds
    result.caption = f"undiscounted; {'one seed has no interval' if seeds == 1 else f'interval over {seeds} seeds'}"
    result.caption_justify = "left"
    return result


def _greedy_episodes(learner: Learner, game: NormalFormGame | StagedGame) -> "Table":
    """Lay out the joint actions that each seed finds best, or most probable, from the first stage to the end."""
    staged = as_staged(game) if isinstance(game, NormalFormGame) else game
    best = "Most probable" if isinstance(learner, ActorLearner) else "Greedy"
    result = table(f"{best} joint actions", ["seed", "joint actions", "rewards"])
    for seed, actions in enumerate(_greedy_actions_of(learner, staged.horizon)):
        path = list(_path(staged, actions))
        labels = [staged.stages[s].label(joint) for s, joint in path]
        rewards = [_rewards_in_words(staged.stages[s], joint) for s, joint in path]
        result.add_row(str(seed), ", then ".join(labels), ", then ".join(rewards))
    return result


def _greedy_actions_of(learner: Learner, steps: int) -> list[list[list[int]]]:
    """The greedy actions of one episode of each seed [seeds, steps, n]; what comes after its end has no meaning."""
    with torch.no_grad(), restored_afterwards(learner.device):
        state = learner.game.reset(learner.config.seeds)
        actions = []
        for _ in range(steps):
            actions.append(learner.act(state, greedy=True).flatten(0, 1))
            state = learner.game.step(state, actions[-1])[0]
    chosen: list[list[list[int]]] = torch.stack(actions, 1).tolist()
    return chosen


def _path(game: StagedGame, actions: list[list[int]]) -> Iterator[tuple[int, JointAction]]:
    """The stages that joint actions lead through, each with the joint action taken there."""
    stage = 0
    for joint in map(tuple, actions):
        yield stage, joint
        stage = int(game.transitions[stage][joint])
        if stage == TERMINAL:
            return


def _rewards_in_words(stage: NormalFormGame, joint: JointAction) -> str:
    rewards = [f"{float(stage.payoff(i, joint)):g}" for i in range(stage.n_agents)]
    return rewards[0] if stage.is_common_reward else f"({', '.join(rewards)})"


def _report_values(learner: Learner, game: NormalFormGame | StagedGame, console: "Console") -> None:
    """Print, for every stage of the game, learned values, greedy joint actions, and the utilities of one seed."""
    assert isinstance(learner, ValueLearner)
    stages = [game] if isinstance(game, NormalFormGame) else list(game.stages)
    gamma = learner.config.gamma
    optimal = [game.shared_reward()] if isinstance(game, NormalFormGame) else game.optimal_action_values(gamma)
    for s, (stage, values) in enumerate(zip(stages, optimal, strict=True)):
        state = StagedState(torch.tensor([s], device=learner.device))
        title = game.name if len(stages) == 1 else f"{game.name}, stage {s}: {stage.name}"
        console.print(f"[bold]{title}[/bold]")
        _report_stage(learner, stage, values, state, "payoff" if len(stages) == 1 else "optimal value", console)


def _report_stage(
    learner: ValueLearner, stage: NormalFormGame, optimal: Any, state: Any, meaning: str, console: "Console"
) -> None:
    tables = joint_table(learner, state).cpu()
    utilities = utility_table(learner, state).cpu()
    console.print(_joint_values(stage, optimal, tables, meaning))
    console.print(_greedy_actions(stage, utilities))
    console.print(_utilities(stage, utilities[0]))


def _joint_values(stage: NormalFormGame, optimal: Any, tables: Tensor, meaning: str) -> "Table":
    """Lay out the game's table and the learned one side by side: the last agent's actions in columns."""
    seeds = len(tables)
    *others, last = stage.action_labels
    spread = ", standard deviation over the seeds in brackets" if seeds > 1 else ""
    columns = [", ".join(f"agent {i + 1}" for i in range(len(others)))]
    columns += [f"{meaning} {label}" for label in last] + [f"learned {label}" for label in last]
    result = table(f"Joint values{spread}", columns)
    for row in list(product(*(range(len(labels)) for labels in others)))[:SHOWN_ROWS]:
        name = ", ".join(labels[action] for labels, action in zip(others, row, strict=True))
        values = [f"{float(value):.2f}" for value in optimal[row]]
        index: tuple[Any, ...] = (slice(None), *row)
        learned = [_mean_and_spread(own) for own in tables[index].T]
        result.add_row(name, *values, *learned)
    left_out = optimal.size // len(last) - SHOWN_ROWS
    if left_out > 0:
        result.caption = f"{left_out} further rows"
    return result


def _mean_and_spread(values: Tensor) -> str:
    spread = f" ({values.std().item():.2f})" if len(values) > 1 else ""
    return f"{values.mean().item():.2f}{spread}"


def _greedy_actions(stage: NormalFormGame, utilities: Tensor) -> "Table":
    result = table("Greedy joint action", ["seed", "joint action", "reward"])
    for s, joint in enumerate(utilities.argmax(-1).tolist()):
        result.add_row(str(s), stage.label(joint), f"{float(stage.payoff(0, joint)):g}")
    return result


def _utilities(stage: NormalFormGame, utilities: Tensor) -> "Table":
    result = table("Utilities of seed 0", ["agent", *(str(k) for k in range(max(stage.n_actions)))])
    for i, own in enumerate(utilities[:, : max(stage.n_actions)].tolist()):
        cells = [f"{label} {q:.2f}" for label, q in zip(stage.action_labels[i], own, strict=False)]
        result.add_row(str(i + 1), *cells)
    return result
