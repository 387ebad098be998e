import pytest
import torch


@pytest.fixture
def rivals(corridor):
    """The corridor with rewards of each agent's own: no two agents' are ever equal."""

    class Rivals(type(corridor)):
        name = "Rivals"
        common_reward = False

        def step(self, state, actions):
            following, rewards, terminated, truncated = super().step(state, actions)
            return following, rewards * torch.tensor([1.0, -0.5]) + torch.tensor([0.0, 7.25]), terminated, truncated

    return Rivals()
