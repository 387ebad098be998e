"""The errata of VDN and both QMIX: each printed form takes the place of the reference's own line and fails."""

import pytest
import torch

from marlspec.games.batched import BatchedStagedGame, StagedState
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import TERMINAL, StagedGame
from marlspec.reference.decomposition import qmix, qmix_episodes, vdn
from marlspec.reference.parts.config import QMIXEpisodesConfig
from marlspec.reference.parts.enumeration import joint_table


def make(module, game, **changes):
    algorithm = module.VDN if hasattr(module, "VDN") else module.QMIX
    settings = {"hidden": (8,), "batch_size": 8, "copies": 4, "epsilon_end": 1.0, **changes}
    return algorithm(game, algorithm.config_type(**settings))


def captured_targets(module, learner, monkeypatch):
    """Make one update without moving anything and return its targets y, with their graph."""
    kept = []
    monkeypatch.setattr(learner.optimiser, "step", lambda: None)
    loss = module.loss
    monkeypatch.setattr(module, "loss", lambda y, value: kept.append(y) or loss(y, value))
    return kept


def target_depends_on_the_online_hypernetwork(module, game, monkeypatch):
    """Whether y moves with theta_hyper, and whether it has a gradient in it."""
    learner = make(module, game)
    for _ in range(6):
        learner.replay.store(learner.replay.kind(*a_transition(learner, game)))
    batch = learner.replay.sample(8)
    kept = captured_targets(module, learner, monkeypatch)
    learner.learn(batch)
    with torch.no_grad():
        for parameter in learner.theta_hyper.parameters():
            parameter.add_(1.0)
    learner.learn(batch)
    return not torch.equal(kept[0], kept[1]), kept[0].requires_grad


def a_transition(learner, game):
    """A transition of the running game, field by field as QMIX stores it."""
    state = learner.game_state
    action = torch.randint(3, (1, 4, 2))
    following, rewards, terminated = learner.apply_actions(action)
    return (
        learner.history(state),
        learner.centralized(state),
        action,
        rewards[..., 0],
        learner.history(following),
        learner.available(following),
        learner.centralized(following),
        terminated,
    )


LINE_16 = "self.theta_bar_hyper(batch.next_z),  # 16"
LINE_22 = "            synchronise(self.theta_bar_hyper, self.theta_hyper)  # 22"


def test_e3(corridor, monkeypatch):
    assert target_depends_on_the_online_hypernetwork(qmix, corridor, monkeypatch) == (False, False)


def test_e3_as_printed_the_target_moves_with_what_is_being_learned(corridor, monkeypatch, as_printed):
    printed = as_printed(qmix, LINE_16, LINE_16.replace("theta_bar_hyper", "theta_hyper"))
    assert target_depends_on_the_online_hypernetwork(printed, corridor, monkeypatch) == (True, True)


def test_e3_as_printed_line_22_leaves_the_target_hypernetwork_behind(corridor, as_printed):
    def agree_after_synchronising(module):
        learner = make(module, corridor, target_interval=2)
        for _ in range(2):
            learner.step()
        pairs = zip(learner.theta_hyper.parameters(), learner.theta_bar_hyper.parameters(), strict=True)
        return all(torch.equal(online, copied) for online, copied in pairs)

    assert agree_after_synchronising(qmix)
    assert not agree_after_synchronising(as_printed(qmix, LINE_22, "            pass  # 22"))


@pytest.mark.parametrize("module", [vdn, qmix])
def test_e6(corridor, module):
    assert largest_error_at_the_end(module, corridor) < 1e-6


@pytest.mark.parametrize("module", [vdn, qmix])
def test_e6_as_printed_the_target_bootstraps_past_the_end(corridor, as_printed, module):
    """Without the flag in the tuple the target line has nothing to test: every row reads as not terminal."""
    printed = as_printed(module, "            terminated=terminated,\n", "            terminated=terminated & False,\n")
    assert largest_error_at_the_end(printed, corridor) > 0.5


def largest_error_at_the_end(module, game):
    """How far the targets of the terminal transitions that a learner stored lie from their rewards."""
    learner = make(module, game, capacity=400, gamma=0.9)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(torch.randn_like(parameter))
    learner.learn = lambda batch: None
    for _ in range(40):
        learner.step()
    ended = torch.cat([type(game)().step(*entry)[2] for entry in game.log])
    assert ended.any()
    stored = learner.replay.kind(*(getattr(learner.replay, name)[: len(ended)][ended] for name in learner.replay.names))
    next_utilities = learner.theta_bar(stored.next_history.unsqueeze(0))
    extra = [learner.theta_bar_hyper(stored.next_z.unsqueeze(0))] if hasattr(stored, "next_z") else []
    assert next_utilities.amax(-1).sum(-1).abs().min() > 0, "the next values are not zero"
    y = module.target(stored.reward.unsqueeze(0), stored.terminated.unsqueeze(0), next_utilities, *extra, 0.9)
    return float((y - stored.reward).abs().max())


# --- QMIX on episodes -------------------------------------------------------------------------------------------------


class Chain(BatchedStagedGame):
    """Two steps without a choice, of rewards 0 and 1; the observation tells them apart, the state does not."""

    def __init__(self):
        pays = [NormalFormGame.common_reward([[reward]]) for reward in (0, 1)]
        super().__init__(StagedGame(pays, [[[1]], [[TERMINAL]]]))
        self.state_size = 1

    def centralized(self, state):
        return torch.ones(len(state.stage), 1)


def on_episodes(module, game, **changes):
    settings = {"hidden": (8,), "embed": 4, "copies": 2, "batch_size": 4, "horizon": 2, "learning_rate": 0.02}
    return module.QMIXEpisodes(game, QMIXEpisodesConfig(**{**settings, "gamma": 0.9, "target_interval": 5, **changes}))


def values_of_the_chain(module):
    learner = on_episodes(module, Chain())
    for _ in range(200):
        learner.step()
    return [joint_table(learner, StagedState(torch.tensor([stage]))).item() for stage in (0, 1)]


def test_e17():
    assert values_of_the_chain(qmix_episodes) == pytest.approx([0.9, 1.0], abs=0.05)


def test_e17_as_printed_a_value_sees_no_later_reward(as_printed):
    corrected = "self.theta_bar.ahead(batch.history, batch.next_history)"
    printed = as_printed(qmix_episodes, corrected, corrected.replace("next_history", "history"))
    assert values_of_the_chain(printed) == pytest.approx([0.0, 1.0], abs=0.05)


def targets_start_equal(module, game):
    learner = on_episodes(module, game)
    pairs = ((learner.theta, learner.theta_bar), (learner.theta_hyper, learner.theta_bar_hyper))
    return [all(map(torch.equal, online.parameters(), target.parameters())) for online, target in pairs]


def epsilon_after_the_first_episode(module, game):
    learner = on_episodes(module, game, epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=4)
    learner.step()
    return learner.epsilon(learner.t)


ERRORS = torch.tensor([[[3.0, 1.0], [2.0, 5.0]]])


def loss_of(module, filled):
    return module.loss(ERRORS[:, : len(filled)], torch.zeros(1, len(filled), 2), torch.tensor([filled])).tolist()


def test_e18(corridor):
    assert targets_start_equal(qmix_episodes, corridor) == [True, True]
    learner = on_episodes(qmix_episodes, corridor)
    learner.step()
    assert learner.replay.z.any()
    assert learner.replay.next_z.any()
    assert epsilon_after_the_first_episode(qmix_episodes, corridor) == 0.5
    assert loss_of(qmix_episodes, [[True, True]]) == [(9 + 1) / 2]
    assert loss_of(qmix_episodes, [[True, False], [True, False]]) == [(9 + 4) / 2]


@pytest.mark.parametrize(
    ("corrected", "drawn_apart", "equal"),
    [
        ("frozen_copy(self.theta)", "UtilityNetworks(n, h, A, config.hidden, (config.seeds,))", [False, True]),
        ("frozen_copy(self.theta_hyper)", "Hypernetwork(n, z, config.embed, (config.seeds,))", [True, False]),
    ],
)
def test_e18_as_printed_line_1_lets_targets_start_anywhere(corridor, as_printed, corrected, drawn_apart, equal):
    assert targets_start_equal(as_printed(qmix_episodes, corrected, drawn_apart), corridor) == equal


@pytest.mark.parametrize("line", ["            z=z,\n", "            next_z=self.centralized(next_state),\n"])
def test_e18_as_printed_line_13_leaves_out_what_line_17_draws(corridor, as_printed, line):
    learner = on_episodes(as_printed(qmix_episodes, line, ""), corridor)
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: '(next_)?z'"):
        learner.step()


def test_e18_as_printed_time_stands_still(corridor, as_printed):
    printed = as_printed(qmix_episodes, "self.t += 1", "pass")
    assert epsilon_after_the_first_episode(printed, corridor) == 1.0


def test_e18_as_printed_line_17_takes_the_number_of_episodes_for_that_of_time_steps(as_printed):
    corrected = "torch.where(filled, y - value, 0.0)"
    printed = as_printed(qmix_episodes, corrected, "(y - value)[..., : y.shape[-2]]")
    assert loss_of(printed, [[True, True]]) == [9 / 2], "one episode: its second step is lost"
    assert loss_of(printed, [[True, False], [True, False]]) == [(9 + 1 + 4 + 25) / 2], "two: steps after the end count"
