"""The errata of Algorithms 17 to 20: each printed form takes the place of the reference's own line."""

import torch

from marlspec.reference.independent import idqn
from marlspec.reference.parts.config import Config


def largest_error_at_the_end(module, game):
    """How far the targets of the terminal transitions that a learner stored lie from their rewards."""
    learner = module.IDQN(game, Config(hidden=(8,), batch_size=8, copies=4, capacity=400))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(torch.randn_like(parameter))
    learner.learn = lambda batch: None
    for _ in range(40):
        learner.step()
    ended = torch.cat([type(game)().step(*entry)[2] for entry in game.log])
    assert ended.any()
    rings = module.Transition(*(getattr(learner.replay, name).unflatten(0, (2, 400)) for name in learner.replay.names))
    stored = module.side_by_side(module.Transition(*(ring[:, : len(ended)][:, ended] for ring in rings)), 2)
    next_utilities = learner.theta_bar(stored.next_history)
    assert next_utilities.amax(-1).abs().min() > 0, "the next values are not zero"
    y = module.target(stored.rewards, stored.terminated, next_utilities, 0.9)
    return float((y - stored.rewards).abs().max())


def test_e6(rivals):
    assert largest_error_at_the_end(idqn, rivals) < 1e-6


def test_e6_as_printed_the_target_bootstraps_past_the_end(rivals, as_printed):
    """Without the flag in the tuple the target line has nothing to test: every row reads as not terminal."""
    flag = "terminated=terminated.unsqueeze(-1).expand_as(rewards)"
    printed = as_printed(idqn, flag, flag.replace("terminated.unsqueeze", "(terminated & False).unsqueeze"))
    assert largest_error_at_the_end(printed, rivals) > 0.5
