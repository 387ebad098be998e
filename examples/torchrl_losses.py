"""Adapters: torchrl's loss modules and target updaters, as targets of the judge.

    marlspec check examples/torchrl_losses.py:dqn --role td_target
    marlspec check examples/torchrl_losses.py:dqn --role td_target --set double=True
    marlspec check examples/torchrl_losses.py:qmixer --role td_target
    marlspec check examples/torchrl_losses.py:a2c --role policy_loss
    marlspec check examples/torchrl_losses.py:ppo --role policy_loss --set clipped=True
    marlspec check examples/torchrl_losses.py:reinforce --role policy_loss
    marlspec check examples/torchrl_losses.py:SoftUpdates --role target_network
    marlspec check examples/torchrl_losses.py:HardUpdates --role target_network
    marlspec check examples/torchrl_losses.py:QMixLearner --role learner

A loss module is called as a training script calls it, with entropy bonuses off. What came out stands in
docs/findings.md.
"""

from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDict
from tensordict.nn import (
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
    TensorDictSequential,
)
from torch import Tensor, nn
from torchrl.modules import QValueActor, QValueModule, ValueOperator
from torchrl.modules.models.multiagent import QMixer, VDNMixer
from torchrl.objectives import (
    A2CLoss,
    ClipPPOLoss,
    DQNLoss,
    HardUpdate,
    PPOLoss,
    QMixerLoss,
    ReinforceLoss,
    SoftUpdate,
)

Function = Callable[..., Tensor]


# --- targets ----------------------------------------------------------------------------------------------------------

LOW = 2.0**20  # below all targets, so that |prediction - target| shows the target


class Given(nn.Module):
    """Reads values off the observation [.., 2, A]: the online network the first row, the target network the other."""

    def __init__(self) -> None:
        super().__init__()
        self.is_target = nn.Parameter(torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        """Return [.., A]."""
        return torch.where(self.is_target > 0, values[..., 1, :], values[..., 0, :])


def dqn(double: bool = False) -> Function:
    """Return the targets that DQNLoss takes, with its double estimator or without."""
    actor = QValueActor(Given(), in_keys=["values"], action_space="categorical", action_mask_key="mask")
    loss = DQNLoss(actor, action_space="categorical", double_dqn=double, loss_function="l1", reduction="none")
    _mark(loss.target_value_network_params)

    def target(
        r: Tensor, ends: Tensor, cut: Tensor, next_v: Tensor, online_v: Tensor, free: Tensor, gamma: float
    ) -> Tensor:
        loss.make_value_estimator(gamma=gamma)
        batch = r.shape
        ends, cut = (flag.unsqueeze(-1).expand(batch).unsqueeze(-1) for flag in (ends, cut))
        now = torch.full_like(next_v, -LOW)
        data = TensorDict(
            {
                "values": torch.stack([now, now], -2),
                "mask": torch.ones_like(free),
                "action": torch.zeros(batch, dtype=torch.long),
                "next": {
                    "values": torch.stack([online_v, next_v], -2),
                    "mask": free,
                    "reward": r.unsqueeze(-1),
                    "terminated": ends,
                    "done": ends | cut,
                },
            },
            batch,
        )
        return loss(data)["loss"] - LOW

    return _declared(target, backup="double" if double else "max")


def qmixer() -> Function:
    """Return the targets that QMixerLoss takes, with torchrl's sum of utilities as its mixer.

    It has no option to return the loss of each row, so that it is called with one row at a time.
    """
    local = _agents(Given(), "values", ("agents", "mask"))

    def target(
        r: Tensor, ends: Tensor, cut: Tensor, next_v: Tensor, online_v: Tensor, free: Tensor, gamma: float
    ) -> Tensor:
        sum_of = TensorDictModule(
            VDNMixer(n_agents=r.shape[1], device="cpu"), [("agents", "chosen_action_value")], ["chosen_action_value"]
        )
        loss = QMixerLoss(local, sum_of, action_space="categorical", loss_function="l1")
        _mark(loss.target_local_value_network_params)
        loss.make_value_estimator(gamma=gamma)
        now = torch.full_like(next_v, -LOW)
        agents = {"values": torch.stack([now, now], -2), "mask": torch.ones_like(free)}
        data = TensorDict(
            {
                "agents": {**agents, "action": torch.zeros(r.shape, dtype=torch.long)},
                "next": {
                    "agents": {"values": torch.stack([online_v, next_v], -2), "mask": free},
                    "reward": r[:, :1],
                    "terminated": ends.unsqueeze(-1),
                    "done": (ends | cut).unsqueeze(-1),
                },
            },
            r.shape[:1],
        )
        return torch.stack([loss(row)["loss"] for row in data.split(1)]) - LOW * r.shape[1]

    return _declared(target, mixing="sum")


def _mark(parameters: Any) -> None:
    """Let a network's parameters say that it is the target network."""
    for value in parameters.values(True, True):
        value.data.fill_(1)


# --- losses of policies -----------------------------------------------------------------------------------------------


def _actor() -> ProbabilisticTensorDictSequential:
    """A policy whose logits are the observation."""
    return ProbabilisticTensorDictSequential(
        TensorDictModule(nn.Identity(), ["observation"], ["logits"]),
        ProbabilisticTensorDictModule(
            ["logits"], ["action"], distribution_class=torch.distributions.Categorical, return_log_prob=True
        ),
    )


def _policy_loss(loss: Any, objective: str, detached: bool) -> Function:
    """Hand a loss module the rows that the mask keeps, and advantages without a graph, as scripts do."""

    def function(logits: Tensor, actions: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        old = torch.distributions.Categorical(logits=logits.detach()).log_prob(actions)
        advantage = (advantages.detach() if detached else advantages).unsqueeze(-1)
        data = TensorDict(
            {
                "observation": logits,
                "seen": torch.ones_like(advantage),
                "action": actions,
                "action_log_prob": old,
                "advantage": advantage,
                "value_target": torch.zeros_like(advantage),
            },
            actions.shape,
        )
        return loss(data[mask])[objective]

    return _declared(function)


def a2c(detached: bool = True) -> Function:
    """Return A2CLoss's loss_objective."""
    loss = A2CLoss(_actor(), _critic(), entropy_bonus=False)
    return _policy_loss(loss, "loss_objective", detached)


def ppo(clipped: bool = False, detached: bool = True) -> Function:
    """Return the loss_objective of PPOLoss, or of ClipPPOLoss."""
    loss = (ClipPPOLoss if clipped else PPOLoss)(_actor(), _critic(), entropy_bonus=False)
    return _policy_loss(loss, "loss_objective", detached)


def reinforce(detached: bool = True) -> Function:
    """Return ReinforceLoss's loss_actor."""
    return _policy_loss(ReinforceLoss(_actor(), _critic()), "loss_actor", detached)


def _critic() -> ValueOperator:
    return ValueOperator(nn.Linear(1, 1), in_keys=["seen"])


# --- networks and their updates ---------------------------------------------------------------------------------------


def _agents(network: nn.Module, observation: str, mask: tuple[str, str] | None = None) -> TensorDictSequential:
    """One network for all agents, and the choice of their greedy actions."""
    keys = [("agents", name) for name in ("action", "action_value", "chosen_action_value")]
    choice = QValueModule(action_space="categorical", action_value_key=keys[1], out_keys=keys, action_mask_key=mask)
    return TensorDictSequential(TensorDictModule(network, [("agents", observation)], [keys[1]]), choice)


def _local() -> TensorDictSequential:
    return _agents(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), "observation")


def _mixer() -> TensorDictModule:
    mixer = QMixer(state_shape=(5,), mixing_embed_dim=4, n_agents=2, device="cpu")
    return TensorDictModule(mixer, [("agents", "chosen_action_value"), "state"], ["chosen_action_value"])


class QMix:
    """QMixerLoss with its online and target parameters: agents and mixer."""

    def __init__(self) -> None:
        self.module = QMixerLoss(_local(), _mixer(), action_space="categorical")
        self.module.make_value_estimator(gamma=0.9)
        self.online = {
            "agents": _by_name(self.module.local_value_network_params),
            "mixer": _by_name(self.module.mixer_network_params),
        }
        self.target = {
            "agents": _by_name(self.module.target_local_value_network_params),
            "mixer": _by_name(self.module.target_mixer_network_params),
        }

    def loss(self, batch: dict[str, Tensor] | None = None) -> Tensor:
        """Return the loss of a batch, by default of random transitions that go on."""
        batch = batch or _random_batch(8)
        ends = batch["terminated"].unsqueeze(-1)
        data = TensorDict(
            {
                "agents": {"observation": batch["observations"], "action": batch["actions"]},
                "state": batch["state"],
                "next": {
                    "agents": {"observation": batch["next_observations"]},
                    "state": batch["next_state"],
                    "reward": batch["rewards"][:, :1],
                    "terminated": ends,
                    "done": ends,
                },
            },
            [len(ends)],
        )
        return self.module(data)["loss"]


class SoftUpdates(QMix):
    """SoftUpdate; one is made for each share at the start, since making one sets the target parameters equal."""

    taus = (0.25, 0.005, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.updaters = {tau: SoftUpdate(self.module, tau=tau) for tau in self.taus}

    def soft_update(self, tau: float) -> None:
        """Move the target parameters by the share tau."""
        self.updaters[tau].step()


class HardUpdates(QMix):
    """HardUpdate, at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.updater = HardUpdate(self.module, value_network_update_interval=1)

    def sync(self) -> None:
        """Set the target parameters equal to the online ones."""
        self.updater.step()


class QMixLearner(QMix):
    """QMixerLoss in training: Adam, clipped gradients, soft updates."""

    tau = 0.005
    clip = 10.0

    def __init__(self) -> None:
        super().__init__()
        self.parameters = [value for part in self.online.values() for value in part.values()]
        self.optimiser = torch.optim.Adam(self.parameters)
        self.updater = SoftUpdate(self.module, tau=self.tau)

    def learn(self, batch: dict[str, Tensor]) -> None:
        """Make one update."""
        self.optimiser.zero_grad()
        self.loss(batch).backward()
        nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimiser.step()
        self.updater.step()


def _random_batch(rows: int) -> dict[str, Tensor]:
    return {
        "observations": torch.randn(rows, 2, 4),
        "next_observations": torch.randn(rows, 2, 4),
        "state": torch.randn(rows, 5),
        "next_state": torch.randn(rows, 5),
        "actions": torch.randint(3, (rows, 2)),
        "rewards": torch.randn(rows, 1),
        "terminated": torch.zeros(rows, dtype=torch.bool),
    }


def _by_name(parameters: Any) -> dict[str, Tensor]:
    """The tensors of a TensorDictParams, which are read and written in place."""
    return {".".join(key): value for key, value in parameters.items(True, True)}


def _declared(function: Function, **declarations: Any) -> Function:
    vars(function).update(arrays="torch", **declarations)
    return function
