"""Where a name becomes a game on a device: all that the deep algorithms train on.

    climbing, two-step, ..         a matrix or staged game of the catalogue
    foraging, goals:2, ..          an exact stochastic game of the catalogue, with a time limit
    repeated:climbing, ..          a matrix game played many times in one episode
    foraging:8x8-2p-3f-coop, ..    level-based foraging; Foraging-8x8-2p-3f-coop-v3 means the same
    speaker-listener               the speaker-listener game
    combat:3m, combat:2s3z, ..     combat against a scripted enemy, with names as SMAC's maps have them

torch is loaded when a game is made, not before, so that the games are listed quickly.
"""

from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from marlspec.errors import InputError
from marlspec.games.catalogue import GAMES, Game, catalogue, get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import StagedGame
from marlspec.games.stochastic import StochasticGame, repeated

if TYPE_CHECKING:
    import torch

    from marlspec.games.batched import BatchedGame

BENCHMARK = "Papoudakis et al., Benchmarking Multi-Agent Deep RL Algorithms, NeurIPS 2021, arXiv 2006.07869"
SMAC = "after Samvelyan et al., The StarCraft Multi-Agent Challenge, 2019, arXiv 1902.04043"
LOWE = "Lowe et al., Multi-Agent Actor-Critic, NeurIPS 2017, arXiv 1706.02275"

REPEATED, TASK, COMBAT, SPEAKER_LISTENER, EXACT = "repeated", "foraging", "combat", "speaker-listener", "exact"
TASK_ID = "Foraging-"
EXAMPLES = ("repeated:climbing", "foraging:8x8-2p-3f-coop", SPEAKER_LISTENER, "combat:3m")

REPETITIONS = 25
TIME_LIMIT = 50


class Description(NamedTuple):
    """A game in words.

    Attributes:
        agents: how many.
        actions: how many each agent has.
        length: how long it is, as its kind is measured: stages, states or steps; nothing for one step.
        observation: the length of an observation on a device.
        common_reward: whether all agents receive the same reward.
        source: where it comes from.
    """

    agents: str
    actions: str
    length: str
    observation: str
    common_reward: str
    source: str


def batched_game(
    name: str,
    device: "torch.device | str" = "cpu",
    *,
    time_limit: int | None = None,
    own_rewards: bool = False,
    pool: int | None = None,
) -> "BatchedGame[Any]":
    """Return a game by name, on a device.

    Args:
        name: as above.
        device: where the game lives.
        time_limit: after how many steps an episode is truncated; where it is left out, 25 for repeated games (as in
            the benchmark of Papoudakis et al.), 50 for foraging tasks (lbforaging's) and exact stochastic games, the
            scenario's own for combat.
        own_rewards: of a foraging task, whether each player receives its own share instead of the team's sum.
        pool: of a foraging task, from how many starts, drawn once, a reset chooses; None to draw every start afresh.

    Raises:
        InputError: no such game (the message names near matches), or an option that the game does not take.
    """
    kind, base = _kind(name)
    if kind == TASK:
        return _foraging(base, device, time_limit, own_rewards, pool)
    if own_rewards or pool is not None:
        raise InputError(
            f"own_rewards and pool are for foraging tasks such as {EXAMPLES[1]}: leave them out for {name}"
        )
    if kind == COMBAT:
        return _combat(base, device, time_limit)
    if kind == SPEAKER_LISTENER:
        return _speaker_listener(device, time_limit)
    game = get(base)
    if kind == REPEATED:
        game = _repeated(game)
    return _on_a_device(game, device, time_limit)


def is_exact(name: str) -> bool:
    """Return whether a name belongs to an exact game of the catalogue, if to any game at all."""
    return _kind(name)[0] == EXACT


def descriptions() -> dict[str, Description]:
    """Return what to say of every game: those of the catalogue, then those that exist on a device alone."""
    same = "as NAME"
    return {name: _described(game) for name, game in catalogue().items()} | {
        "repeated:NAME": Description(same, same, f"{REPETITIONS} steps", "1", same, f"matrix game NAME; {BENCHMARK}"),
        EXAMPLES[1]: Description(
            "2", "6x6", f"{TIME_LIMIT} steps", "15", "yes", f"[SIGHTs-]ROWSxCOLUMNS-PLAYERSp-ITEMSf[-coop]; {BENCHMARK}"
        ),
        EXAMPLES[3]: Description("3", "9x9x9", "60 steps", "35", "yes", f"UNITS or UNITS_vs_UNITS; {SMAC}"),
        SPEAKER_LISTENER: Description("2", "3x5", "25 steps", "11", "yes", LOWE),
    }


def _kind(name: str) -> tuple[str, str]:
    """What kind of game a name asks for, and what is left of the name when that is said."""
    base, _, parameter = name.partition(":")
    if name == SPEAKER_LISTENER:
        return SPEAKER_LISTENER, name
    if name.startswith(TASK_ID):
        return TASK, name
    if base in (REPEATED, TASK, COMBAT) and parameter:
        return base, parameter
    if base not in GAMES:
        near = get_close_matches(base.lower(), [*GAMES, *EXAMPLES, REPEATED], n=3, cutoff=0.5)
        hint = " or ".join(near) if near else f"{', '.join(GAMES)}, {', '.join(EXAMPLES)}"
        raise InputError(f"no game named {base!r}; {'did you mean' if near else 'the games are'} {hint}")
    return EXACT, name


def _foraging(
    task: str, device: "torch.device | str", time_limit: int | None, own_rewards: bool, pool: int | None
) -> "BatchedGame[Any]":
    from marlspec.games.batched_lbf import Foraging, foraging_settings

    settings = foraging_settings(task)
    if time_limit is not None:
        settings = replace(settings, time_limit=time_limit)
    return Foraging(settings, device, common_reward=not own_rewards, pool=pool)


def _combat(name: str, device: "torch.device | str", time_limit: int | None) -> "BatchedGame[Any]":
    from marlspec.games.combat import Combat, combat_scenario

    scenario = combat_scenario(name)
    if time_limit is not None:
        scenario = replace(scenario, time_limit=time_limit)
    return Combat(scenario, device)


def _speaker_listener(device: "torch.device | str", time_limit: int | None) -> "BatchedGame[Any]":
    from marlspec.games.speaker_listener import EPISODE_LENGTH, SpeakerListener

    if time_limit is not None:
        raise InputError(f"{SPEAKER_LISTENER} always has {EPISODE_LENGTH} steps: leave out the time limit")
    return SpeakerListener(device)


def _repeated(game: Game) -> StochasticGame:
    if not isinstance(game, NormalFormGame):
        raise InputError(f"{game.name} is no matrix game: leave out repeated:, or name a matrix game after it")
    return repeated(game, gamma=1)


def _on_a_device(game: Game, device: "torch.device | str", time_limit: int | None) -> "BatchedGame[Any]":
    from marlspec.games.batched import BatchedStagedGame
    from marlspec.games.batched_arrays import BatchedStochasticGame

    if isinstance(game, StochasticGame):
        default = TIME_LIMIT if game.terminal.any() else REPETITIONS
        return BatchedStochasticGame(game, device, time_limit=default if time_limit is None else time_limit)
    if time_limit is not None:
        raise InputError(
            f"{game.name} ends by itself: leave out the time limit, or repeat a matrix game by repeated:NAME"
        )
    return BatchedStagedGame(game, device)


def _described(game: Game) -> Description:
    if isinstance(game, NormalFormGame):
        length, observation = "", 1
    elif isinstance(game, StagedGame):
        length, observation = f"{game.n_stages} stages", game.n_stages
    else:
        length, observation = f"{game.n_states} states", game.n_states
    return Description(
        agents=str(game.n_agents),
        actions="x".join(map(str, game.n_actions)),
        length=length,
        observation=str(observation),
        common_reward="yes" if game.is_common_reward else "no",
        source=game.citation,
    )
