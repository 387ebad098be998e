"""A mixer with the most common fault: the hypernetwork's weights lack their absolute value.

    marlspec check examples/broken_mixer.py:BrokenMixer --role mixer

The judge refutes it with a counterexample of two agents and small numbers, and writes it to a file for `marlspec
replay`.
"""

import torch
from torch import Tensor, nn


class BrokenMixer(nn.Module):
    """QMIX's mixing network, but for abs() on the first layer's weights."""

    def __init__(self, n_agents: int, state_size: int, embed: int = 8) -> None:
        super().__init__()
        self.shape = (-1, n_agents, embed)
        self.w1, self.b1 = nn.Linear(state_size, n_agents * embed), nn.Linear(state_size, embed)
        self.w2, self.v = nn.Linear(state_size, embed), nn.Linear(state_size, 1)

    def forward(self, utilities: Tensor, state: Tensor) -> Tensor:
        """Mix utilities [B, n] in states [B, s] to Q_tot [B]."""
        w1 = self.w1(state).view(self.shape)  # abs() is missing here
        hidden = nn.functional.elu(torch.einsum("bn,bnm->bm", utilities, w1) + self.b1(state))
        return (hidden * self.w2(state).abs()).sum(-1) + self.v(state).squeeze(-1)
