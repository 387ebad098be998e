"""The errata of Algorithms 21 and 22: each printed form takes the place of the reference's own line and fails."""

import pytest
import torch

from marlspec.reference.decomposition import qmix, vdn


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
