"""Vectors of returns, advantages and losses: REINFORCE, actor-critic, COMA and Pareto-AC."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from marlspec.properties.vectors.decomposition import bootstrap_faults, squared_error_cases, transitions
from marlspec.properties.vectors.drawn import Drawn
from marlspec.properties.vectors.functions import Case, Fault, Function, case, torched
from marlspec.reference.centralized import ca2c, coma, pareto_ac
from marlspec.reference.independent import ia2c, idqn, reinforce
from marlspec.reference.parts.utilities import one_hot

BOOK = "Albrecht et al. 2024"
DQN = f"{BOOK}, Algorithm 17 (independent deep Q-networks); Mnih et al. 2015"
WILLIAMS = f"{BOOK}, Algorithm 18 (REINFORCE); Williams 1992"
A2C = f"{BOOK}, Algorithms 19 and 20 (independent and centralised A2C)"
COMA = "Foerster et al. 2018, arXiv 1705.08926"
PARETO = "Christianos et al. 2023, arXiv 2209.14344; Albrecht et al. 2024, section 9.4"


def _otherwise(function: Any, **changes: Any) -> Any:
    return torched(lambda **inputs: function(**{**inputs, **{k: change(inputs) for k, change in changes.items()}}))


def _result(function: Any, change: Any) -> Any:
    return torched(lambda **inputs: change(function(**inputs)))


# --- one-step targets -------------------------------------------------------------------------------------------------


def _idqn_target_cases() -> tuple[Case, ...]:
    inf = float("inf")
    drawn = transitions("idqn.target/batch", 8, 3, 4)
    ends = Drawn("idqn.target/batch ends").integers(0, 3, (8, 3)) == 0
    rewards = Drawn("idqn.target/batch rewards").quarters((8, 3))
    utilities = drawn["next_utilities"]
    return (
        case(
            "ongoing",
            rewards=[[1.0, 2.0]],
            terminated=[[False, False]],
            next_utilities=[[[0.5, 2.0], [1.0, 3.0]]],
            gamma=0.875,
        ),
        case(
            "terminal",
            rewards=[[1.0, 2.0]],
            terminated=[[True, True]],
            next_utilities=[[[0.5, 2.0], [1.0, 3.0]]],
            gamma=0.875,
        ),
        case(
            "negative",
            rewards=[[0.0, 0.0]],
            terminated=[[False, False]],
            next_utilities=[[[-1.0, -4.0], [-2.0, -3.0]]],
            gamma=0.5,
        ),
        case("unavailable", rewards=[[0.5]], terminated=[[False]], next_utilities=[[[-inf, -1.0, -2.0]]], gamma=0.875),
        case("undiscounted", rewards=[[0.25]], terminated=[[False]], next_utilities=[[[1.0, 3.0]]], gamma=1.0),
        case("batch", rewards=rewards, terminated=ends, next_utilities=utilities, gamma=0.875),
    )


def _ia2c_target_cases() -> tuple[Case, ...]:
    drawn = Drawn("ia2c.target/batch")
    return (
        case("ongoing", rewards=[[1.0, -1.0]], terminated=[False], next_values=[[2.0, 4.0]], gamma=0.875),
        case("terminal", rewards=[[1.0, -1.0]], terminated=[True], next_values=[[2.0, 4.0]], gamma=0.875),
        case("both", rewards=[[1.0], [1.0]], terminated=[True, False], next_values=[[8.0], [8.0]], gamma=0.5),
        case("undiscounted", rewards=[[0.0, 0.0]], terminated=[False], next_values=[[-2.0, 1.0]], gamma=1.0),
        case("equal-values", rewards=[[1.0, 2.0]], terminated=[False], next_values=[[3.0, 3.0]], gamma=0.875),
        case(
            "batch",
            rewards=drawn.quarters((8, 3)),
            terminated=drawn.integers(0, 3, (8,)) == 0,
            next_values=drawn.quarters((8, 3)),
            gamma=0.9375,
        ),
    )


VALUE_TARGET_FAULTS = (
    Fault(
        "bootstraps_after_termination",
        "adds the next value where the episode has terminated",
        _otherwise(ia2c.target, terminated=lambda inputs: torch.zeros_like(inputs["terminated"])),
    ),
    Fault(
        "never_bootstraps",
        "takes the reward alone",
        _otherwise(ia2c.target, terminated=lambda inputs: torch.ones_like(inputs["terminated"])),
    ),
    Fault("no_discount", "takes gamma to be 1", _otherwise(ia2c.target, gamma=lambda inputs: 1.0)),
    Fault(
        "shared_value",
        "bootstraps every agent from the first agent's value",
        _otherwise(
            ia2c.target, next_values=lambda inputs: inputs["next_values"][..., :1].expand_as(inputs["next_values"])
        ),
    ),
    Fault(
        "summed_rewards",
        "gives every agent the sum of the rewards",
        _otherwise(
            ia2c.target, rewards=lambda inputs: inputs["rewards"].sum(-1, keepdim=True).expand_as(inputs["rewards"])
        ),
    ),
)


def _target_functions() -> tuple[Function, ...]:
    one_step = {
        "rewards": "float64 [B, n]",
        "terminated": "bool [B]: whether s' is terminal",
        "next_values": "float64 [B, n]: each agent's value of what comes next",
        "gamma": "float64: discount",
    }
    return (
        Function(
            "idqn.target",
            "y_i = r_i if s' is terminal, else r_i + gamma max_a Q_i(h_i', a), for each agent.",
            DQN,
            {
                "rewards": "float64 [B, n]",
                "terminated": "bool [B, n]: for each agent's own transition",
                "next_utilities": "float64 [B, n, A]; -inf where the action is unavailable",
                "gamma": "float64: discount",
            },
            "float64 [B, n]",
            torched(idqn.target),
            bootstrap_faults(idqn.target),
            _idqn_target_cases(),
        ),
        Function(
            "ia2c.target",
            "y_i = r_i if s' is terminal, else r_i + gamma V_i(h_i'), for each agent.",
            A2C,
            one_step,
            "float64 [B, n]",
            torched(ia2c.target),
            VALUE_TARGET_FAULTS,
            _ia2c_target_cases(),
        ),
        Function(
            "ca2c.informed",
            "What a centralised critic sees: each agent's history with the centralised information appended.",
            A2C,
            {"history": "float64 [B, n, h]", "z": "float64 [B, z]"},
            "float64 [B, n, h + z]",
            torched(ca2c.informed),
            (
                Fault(
                    "information_first",
                    "puts the centralised information before the history",
                    torched(lambda history, z: ca2c.informed(history, z).roll(z.shape[-1], -1)),
                ),
                Fault(
                    "first_history_for_all",
                    "gives all agents the first agent's history",
                    torched(lambda history, z: ca2c.informed(history[..., :1, :].expand_as(history), z)),
                ),
            ),
            (
                case("two-agents", history=[[[1.0, 2.0], [3.0, 4.0]]], z=[[5.0]]),
                case("one-agent", history=[[[1.0]], [[2.0]]], z=[[3.0, 4.0], [5.0, 6.0]]),
                case("alike", history=[[[1.0], [1.0]]], z=[[1.0]]),
            ),
        ),
    )


# --- returns ----------------------------------------------------------------------------------------------------------


def _reinforce_returns_cases() -> tuple[Case, ...]:
    drawn = Drawn("reinforce.returns/batch")
    lengths = drawn.integers(1, 8, (4, 1))
    return (
        case("three-steps", rewards=[[[1.0], [2.0], [4.0]]], running=[[True, True, True]], gamma=0.5),
        case("one-step", rewards=[[[1.0, -1.0]]], running=[[True]], gamma=0.875),
        case("early-end", rewards=[[[1.0], [1.0], [8.0], [8.0]]], running=[[True, True, False, False]], gamma=0.5),
        case("late-reward", rewards=[[[0.0], [0.0], [1.0]]], running=[[True, True, True]], gamma=0.875),
        case("undiscounted", rewards=[[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]], running=[[True, True, True]], gamma=1.0),
        case("myopic", rewards=[[[1.0], [2.0]]], running=[[True, True]], gamma=0.0),
        case("batch", rewards=drawn.quarters((4, 8, 2)), running=np.arange(8) < lengths, gamma=0.875),
    )


def _normalised(values: Tensor) -> Tensor:
    return (values - values.mean(-2, keepdim=True)) / (values.std(-2, keepdim=True, correction=0) + 1e-8)


def _running_discounts(rewards: Tensor, running: Tensor, gamma: float) -> Tensor:
    """The return of the episode from its start, left where it is: gamma^t r_t + gamma^(t+1) r_(t+1) + .. ."""
    powers = gamma ** torch.arange(rewards.shape[-2], dtype=rewards.dtype)
    return reinforce.returns(rewards * powers.unsqueeze(-1), running, 1.0)


REINFORCE_FAULTS = (
    Fault("no_discount", "takes gamma to be 1", _otherwise(reinforce.returns, gamma=lambda inputs: 1.0)),
    Fault(
        "rewards_after_the_end",
        "adds up what stands after the episode's end",
        _otherwise(reinforce.returns, running=lambda inputs: torch.ones_like(inputs["running"])),
    ),
    Fault(
        "discounts_from_the_start",
        "discounts rewards by the time since the episode's start, not since the time step",
        torched(_running_discounts),
    ),
    Fault(
        "forwards",
        "adds up the rewards received so far",
        torched(
            lambda rewards, running, gamma: reinforce.returns(
                torch.where(running.unsqueeze(-1), rewards, 0.0).flip(-2), torch.ones_like(running), gamma
            ).flip(-2)
        ),
    ),
    Fault("normalised", "normalises the returns within the episode", _result(reinforce.returns, _normalised)),
)


def _return_functions() -> tuple[Function, ...]:
    return (
        Function(
            "reinforce.returns",
            "G_t = r_t + gamma G_(t+1) while the episode runs, 0 after its end, for each agent.",
            WILLIAMS,
            {
                "rewards": "float64 [K, T, n]: of K episodes",
                "running": "bool [K, T]: whether time step t belongs to the episode",
                "gamma": "float64: discount",
            },
            "float64 [K, T, n]",
            torched(reinforce.returns),
            REINFORCE_FAULTS,
            _reinforce_returns_cases(),
        ),
        Function(
            "coma.target",
            "TD(lambda) targets y_t = r_t + gamma ((1 - lambda) V_(t+1) + lambda y_(t+1)): r_t alone where the episode "
            "terminates, r_t + gamma V_(t+1) where it is cut and at the last time step. next_values[t] is V_(t+1).",
            f"{COMA}, equation 5; {BOOK}, section 2.6 on lambda-returns",
            {
                "reward": "float64 [K, T]",
                "terminated": "bool [K, T]: whether the episode terminates with time step t",
                "truncated": "bool [K, T]: whether it is cut there, by a time limit",
                "next_values": "float64 [K, T, n]: each agent's value of what follows time step t",
                "gamma": "float64: discount",
                "td_lambda": "float64: lambda",
            },
            "float64 [K, T, n]",
            torched(coma.target),
            _TD_LAMBDA_FAULTS,
            _td_lambda_cases(),
        ),
        Function(
            "pareto_ac.target",
            "n-step returns y_t = r_t + gamma y_(t+1): r_t alone where the episode terminates, r_t + gamma V_(t+1) "
            "where it is cut and at the last time step. next_values[t] is V_(t+1).",
            PARETO,
            {
                "rewards": "float64 [N, K, n]: N time steps of K copies",
                "terminated": "bool [N, K]",
                "truncated": "bool [N, K]",
                "next_values": "float64 [N, K, n]",
                "gamma": "float64: discount",
            },
            "float64 [N, K, n]",
            torched(pareto_ac.target),
            (
                Fault("no_discount", "takes gamma to be 1", _otherwise(pareto_ac.target, gamma=lambda inputs: 1.0)),
                Fault(
                    "bootstraps_after_termination",
                    "takes termination for a cut",
                    _otherwise(
                        pareto_ac.target,
                        terminated=lambda inputs: torch.zeros_like(inputs["terminated"]),
                        truncated=lambda inputs: inputs["truncated"] | inputs["terminated"],
                    ),
                ),
                Fault(
                    "cut_as_termination",
                    "takes a cut for termination",
                    _otherwise(pareto_ac.target, terminated=lambda inputs: inputs["truncated"] | inputs["terminated"]),
                ),
                Fault(
                    "one_step",
                    "bootstraps at every time step",
                    _otherwise(pareto_ac.target, truncated=lambda inputs: torch.ones_like(inputs["truncated"])),
                ),
                Fault(
                    "no_last_value",
                    "takes the value 0 after the last time step",
                    _otherwise(pareto_ac.target, next_values=lambda inputs: _last_zeroed(inputs["next_values"], 0)),
                ),
            ),
            _n_step_cases(),
        ),
    )


def _last_zeroed(values: Tensor, axis: int) -> Tensor:
    changed = values.clone()
    changed.select(axis, -1).zero_()
    return changed


def _forgets_ends(
    reward: Tensor, terminated: Tensor, truncated: Tensor, next_values: Tensor, gamma: float, td_lambda: float
) -> Tensor:
    """Bootstraps nowhere but at the last time step, and lets returns flow over ends."""
    nowhere = torch.zeros_like(terminated)
    return coma.target(reward, nowhere, nowhere, next_values, gamma, td_lambda)


_TD_LAMBDA_FAULTS = (
    Fault("no_discount", "takes gamma to be 1", _otherwise(coma.target, gamma=lambda inputs: 1.0)),
    Fault("one_step", "takes lambda to be 0", _otherwise(coma.target, td_lambda=lambda inputs: 0.0)),
    Fault("monte_carlo", "takes lambda to be 1", _otherwise(coma.target, td_lambda=lambda inputs: 1.0)),
    Fault(
        "lambda_inverted",
        "exchanges lambda and 1 - lambda",
        _otherwise(coma.target, td_lambda=lambda inputs: 1 - inputs["td_lambda"]),
    ),
    Fault(
        "cut_as_termination",
        "takes a cut for termination, and does not bootstrap there",
        _otherwise(coma.target, terminated=lambda inputs: inputs["terminated"] | inputs["truncated"]),
    ),
    Fault(
        "termination_as_cut",
        "takes termination for a cut, and bootstraps there",
        _otherwise(
            coma.target,
            terminated=lambda inputs: torch.zeros_like(inputs["terminated"]),
            truncated=lambda inputs: inputs["terminated"] | inputs["truncated"],
        ),
    ),
    Fault("flows_over_ends", "lets the return of the next episode flow into this one", torched(_forgets_ends)),
    Fault(
        "no_last_value",
        "takes the value 0 after the last time step",
        _otherwise(coma.target, next_values=lambda inputs: _last_zeroed(inputs["next_values"], -2)),
    ),
    Fault(
        "values_one_late",
        "takes next_values[t + 1] in place of next_values[t]",
        _otherwise(
            coma.target,
            next_values=lambda inputs: torch.cat(
                [inputs["next_values"][..., 1:, :], inputs["next_values"][..., -1:, :]], -2
            ),
        ),
    ),
)


def _td_lambda_cases() -> tuple[Case, ...]:
    drawn = Drawn("coma.target/batch")
    ends = drawn.integers(0, 5, (4, 6))

    def one(
        label: str, reward: Any, terminated: Any, truncated: Any, values: Any, gamma: float, td_lambda: float
    ) -> Case:
        flags = {"terminated": [terminated], "truncated": [truncated]}
        return case(label, reward=[reward], **flags, next_values=[values], gamma=gamma, td_lambda=td_lambda)

    no = [False, False, False]
    values = [[1.0], [2.0], [4.0]]
    return (
        one("ongoing", [1.0, 0.0, 2.0], no, no, values, 0.5, 0.5),
        one("terminates", [1.0, 0.0, 2.0], [False, False, True], no, values, 0.5, 0.5),
        one("cut", [1.0, 0.0, 2.0], no, [False, False, True], values, 0.5, 0.5),
        one("terminates-midway", [1.0, 0.0, 2.0], [False, True, False], no, values, 0.875, 0.75),
        one("cut-midway", [1.0, 0.0, 2.0], no, [False, True, False], values, 0.875, 0.75),
        one("lambda-0", [1.0, 0.0, 2.0], no, no, values, 0.875, 0.0),
        one("lambda-1", [1.0, 0.0, 2.0], [False, False, True], no, values, 0.875, 1.0),
        one("undiscounted", [1.0, 0.0, 2.0], no, no, [[1.0], [-2.0], [4.0]], 1.0, 0.25),
        one("one-step", [1.0], [False], [False], [[2.0, 4.0]], 0.5, 0.75),
        case(
            "batch",
            reward=drawn.quarters((4, 6)),
            terminated=ends == 0,
            truncated=ends == 1,
            next_values=drawn.quarters((4, 6, 2)),
            gamma=0.875,
            td_lambda=0.75,
        ),
    )


def _n_step_cases() -> tuple[Case, ...]:
    drawn = Drawn("pareto_ac.target/batch")
    ends = drawn.integers(0, 5, (6, 4))

    def one(label: str, rewards: Any, terminated: Any, truncated: Any, values: Any, gamma: float) -> Case:
        return case(label, rewards=rewards, terminated=terminated, truncated=truncated, next_values=values, gamma=gamma)

    rewards, values, no = [[[1.0, 2.0]], [[0.0, 1.0]]], [[[8.0, 4.0]], [[2.0, 6.0]]], [[False], [False]]
    return (
        one("ongoing", rewards, no, no, values, 0.5),
        one("terminates", rewards, [[False], [True]], no, values, 0.5),
        one("terminates-midway", rewards, [[True], [False]], no, values, 0.5),
        one("cut-midway", rewards, no, [[True], [False]], values, 0.5),
        one("one-step", [[[1.0]]], [[False]], [[False]], [[[4.0]]], 0.875),
        case(
            "batch",
            rewards=drawn.quarters((6, 4, 2)),
            terminated=ends == 0,
            truncated=ends == 1,
            next_values=drawn.quarters((6, 4, 2)),
            gamma=0.875,
        ),
    )


# --- advantages -------------------------------------------------------------------------------------------------------


def _advantage_cases() -> tuple[Case, ...]:
    drawn = Drawn("coma.counterfactual_advantage/batch")
    return (
        case("certain", q=[[[1.0, 3.0]]], pi=[[[0.0, 1.0]]], action=[[1]]),
        case("even", q=[[[1.0, 3.0]]], pi=[[[0.5, 0.5]]], action=[[1]]),
        case("unlikely-action", q=[[[4.0, 0.0, -2.0]]], pi=[[[0.125, 0.625, 0.25]]], action=[[0]]),
        case("two-agents", q=[[[1.0, 2.0], [4.0, 8.0]]], pi=[[[0.25, 0.75], [0.75, 0.25]]], action=[[0, 1]]),
        case("constant", q=[[[2.0, 2.0]]], pi=[[[0.25, 0.75]]], action=[[0]]),
        case(
            "batch",
            q=drawn.quarters((8, 3, 4)),
            pi=drawn.distributions((8, 3, 4)),
            action=drawn.integers(0, 3, (8, 3)),
        ),
    )


def _with_baseline(baseline: Any) -> Any:
    def advantage(q: Tensor, pi: Tensor, action: Tensor) -> Tensor:
        taken = q.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        return torch.sub(taken, baseline(q, pi, action))

    return torched(advantage)


def _optimistic(q: Tensor, action: Tensor) -> Tensor:
    n = action.shape[-1]
    return pareto_ac.optimistic(q, action, pareto_ac.own_action_first(n, round(q.shape[-1] ** (1 / n))))


def _best_of_all(q: Tensor, action: Tensor) -> Tensor:
    return q.argmax(-1)


def _worst_for_it(q: Tensor, action: Tensor) -> Tensor:
    return _optimistic(-q, action)


def _shared_best(q: Tensor, action: Tensor) -> Tensor:
    return _optimistic(q.mean(-2, keepdim=True).expand_as(q), action)


def _optimistic_cases() -> tuple[Case, ...]:
    """No two joint actions are equally good here: which of them is returned would be a matter of convention."""
    drawn = Drawn("pareto_ac.optimistic/three-agents")
    ranks = np.arange(27.0)
    shuffled = [[ranks[drawn.integers(0, 10**9, (27,)).argsort()] for _ in range(3)] for _ in range(4)]
    return (
        case("stag", q=[[[4.0, 0.0, 3.0, 2.0], [4.0, 3.0, 0.0, 2.0]]], action=[[0, 0]]),
        case("hare", q=[[[4.0, 0.0, 3.0, 2.0], [4.0, 3.0, 0.0, 2.0]]], action=[[1, 1]]),
        case("apart", q=[[[1.0, 2.0, 3.0, 4.0], [8.0, 6.0, 5.0, 7.0]]], action=[[0, 1]]),
        case("three-agents", q=np.array(shuffled), action=drawn.integers(0, 2, (4, 3))),
    )


def _critic_input_cases() -> tuple[Case, ...]:
    drawn = Drawn("coma.critic_input/three-agents")
    previous = torch.nn.functional.one_hot(torch.from_numpy(drawn.integers(0, 3, (2, 3))), 4).double().numpy()
    return (
        case(
            "two-agents", action=[[0, 1]], z=[[5.0]], history=[[[2.0], [3.0]]], last_action=[[[0.0, 1.0], [1.0, 0.0]]]
        ),
        case(
            "first-step", action=[[1, 1]], z=[[5.0]], history=[[[2.0], [3.0]]], last_action=[[[0.0, 0.0], [0.0, 0.0]]]
        ),
        case(
            "three-agents",
            action=drawn.integers(0, 3, (2, 3)),
            z=drawn.quarters((2, 2)),
            history=drawn.quarters((2, 3, 2)),
            last_action=previous,
        ),
    )


def _own_action_too(action: Tensor, z: Tensor, history: Tensor, last_action: Tensor) -> Tensor:
    right = coma.critic_input(action, z, history, last_action)
    n, A = last_action.shape[-2:]
    taken = one_hot(action, A, right.dtype).flatten(-2).unsqueeze(-2).expand(*right.shape[:-1], -1)
    return torch.cat([taken, right[..., n * A :]], -1)


def _advantage_functions() -> tuple[Function, ...]:
    return (
        Function(
            "coma.counterfactual_advantage",
            "A_i = Q_i(a_i) - sum_a pi_i(a) Q_i(a), the others' actions being what they are.",
            f"{COMA}, equation 4; erratum E30",
            {
                "q": "float64 [B, n, A]: Q of each agent's own actions",
                "pi": "float64 [B, n, A]: the policies",
                "action": "int64 [B, n]",
            },
            "float64 [B, n]",
            torched(coma.counterfactual_advantage),
            (
                Fault("no_baseline", "leaves the baseline out", _with_baseline(lambda q, pi, action: 0.0)),
                Fault(
                    "plain_average",
                    "averages over actions without the policy",
                    _with_baseline(lambda q, pi, action: q.mean(-1)),
                ),
                Fault(
                    "best_action",
                    "takes the best action's value as the baseline",
                    _with_baseline(lambda q, pi, action: q.amax(-1)),
                ),
                Fault(
                    "without_own_action",
                    "leaves the action taken out of the baseline",
                    _with_baseline(
                        lambda q, pi, action: (pi * q).sum(-1) - (pi * q).gather(-1, action.unsqueeze(-1)).squeeze(-1)
                    ),
                ),
                Fault(
                    "first_agents_policy",
                    "averages over the first agent's policy for all agents",
                    _with_baseline(lambda q, pi, action: (pi[..., :1, :] * q).sum(-1)),
                ),
                Fault(
                    "sign",
                    "subtracts the action's value from the baseline",
                    _result(coma.counterfactual_advantage, torch.neg),
                ),
            ),
            _advantage_cases(),
        ),
        Function(
            "coma.critic_input",
            "What the critic sees for agent i, one after the other: all agents' actions as vectors with a single 1, "
            "zeros in place of the own action; z; all agents' last actions; h_i; i as a vector with a single 1.",
            f"{COMA}, section 4",
            {
                "action": "int64 [B, n]",
                "z": "float64 [B, z]",
                "history": "float64 [B, n, h]",
                "last_action": "float64 [B, n, A]: vectors with a single 1, zeros at the first time step",
            },
            "float64 [B, n, 2 n A + z + h + n]",
            torched(coma.critic_input),
            (
                Fault("own_action_too", "shows the own action as well", torched(_own_action_too)),
                Fault(
                    "no_last_actions",
                    "leaves zeros in place of the last actions",
                    _otherwise(coma.critic_input, last_action=lambda inputs: torch.zeros_like(inputs["last_action"])),
                ),
            ),
            _critic_input_cases(),
        ),
        Function(
            "pareto_ac.optimistic",
            "For each agent the place of the joint action with its own action and, of the others' actions, those that "
            "are best for it; joint action (a_1 .. a_n) has the place a_1 A^(n-1) + .. + a_n.",
            PARETO,
            {"q": "float64 [B, n, A^n]: each agent's values of all joint actions", "action": "int64 [B, n]"},
            "int64 [B, n]",
            torched(_optimistic),
            (
                Fault("best_of_all", "takes the best joint action, whatever the own action is", torched(_best_of_all)),
                Fault("worst_for_it", "takes the others' worst actions for it", torched(_worst_for_it)),
                Fault("shared_value", "takes what is best for the agents' average", torched(_shared_best)),
            ),
            _optimistic_cases(),
        ),
    )


# --- losses -----------------------------------------------------------------------------------------------------------


def _detached_faults(loss: Any, axis: int) -> tuple[Fault, ...]:
    return (
        Fault("ascends", "has the sign that raises the loss", _result(loss, torch.neg)),
        Fault(
            "sum_over_copies",
            "adds up over the batch instead of averaging",
            torched(lambda **inputs: loss(**inputs) * inputs["log_probabilities"].shape[axis]),
        ),
        Fault(
            "no_log_probability",
            "averages the weights without the log-probabilities",
            _otherwise(loss, log_probabilities=lambda inputs: torch.ones_like(inputs["log_probabilities"])),
        ),
        Fault(
            "agents_exchanged",
            "weights each agent's log-probabilities by the next agent's weights",
            _otherwise(loss, log_probabilities=lambda inputs: inputs["log_probabilities"].roll(1, -1)),
        ),
    )


def _loss_functions() -> tuple[Function, ...]:
    weighted = {"log_probabilities": "float64, of the actions taken, of the same shape"}
    drawn = Drawn("losses")
    weights, logs = drawn.quarters((8, 3)), -abs(drawn.quarters((8, 3))) - 0.25
    episodes, episode_logs = drawn.quarters((4, 8, 2)), -abs(drawn.quarters((4, 8, 2))) - 0.25
    steps = np.arange(8)
    lengths = drawn.integers(0, 3, (4, 1))
    running = steps < 2**lengths  # powers of two, so that dividing by the length is exact
    entropies = abs(drawn.quarters((8, 3))) + 0.25
    one, one_log = [[1.0, -2.0], [3.0, 0.5]], [[-0.5, -1.0], [-2.0, -0.25]]
    short = {"running": [[True, True], [True, False]]}
    cut = {"weights": [[[1.0], [2.0]], [[4.0], [8.0]]], "logs": [[[-1.0], [-0.5]], [[-0.25], [-2.0]]]}
    masked = Fault(
        "steps_after_the_end",
        "counts what stands after the episode's end",
        _otherwise(coma.actor_loss, running=lambda inputs: torch.ones_like(inputs["running"])),
    )
    return (
        Function(
            "idqn.loss",
            "L_i = 1/B sum_b (y_bi - Q_bi)^2, for each agent; here for one agent.",
            DQN,
            {"y": "float64 [B]: targets", "value": "float64 [B]: values of the actions taken"},
            "float64",
            torched(lambda y, value: idqn.loss(y.unsqueeze(-1), value.unsqueeze(-1)).squeeze(-1)),
            tuple(
                Fault(flag, summary, torched(compute))
                for flag, summary, compute in (
                    ("sum_of_squares", "adds the squares up", lambda y, value: (y - value).square().sum(-1)),
                    ("half", "takes half of the mean square", lambda y, value: (y - value).square().mean(-1) / 2),
                    ("absolute", "takes absolute errors", lambda y, value: (y - value).abs().mean(-1)),
                )
            ),
            squared_error_cases("idqn.loss"),
        ),
        Function(
            "reinforce.loss",
            "L_i = -1/K sum over episodes of 1/T sum_t G_t log pi_i(a_t), T being the episode's own length.",
            WILLIAMS,
            {"G": "float64 [K, T, n]: returns", **weighted, "running": "bool [K, T]: whether t belongs to the episode"},
            "float64 [n]",
            torched(reinforce.loss),
            (
                *_detached_faults(reinforce.loss, 0),
                Fault(
                    "steps_after_the_end",
                    "counts what stands after the episode's end",
                    _otherwise(reinforce.loss, running=lambda inputs: torch.ones_like(inputs["running"])),
                ),
                Fault(
                    "not_divided_by_length",
                    "adds up over an episode's time steps",
                    torched(lambda G, log_probabilities, running: coma.actor_loss(G, log_probabilities, running)),
                ),
            ),
            (
                case("one-step", G=[[[2.0, 3.0]]], log_probabilities=[[[-1.0, -0.5]]], running=[[True]]),
                case("early-end", G=cut["weights"], log_probabilities=cut["logs"], **short),
                case("batch", G=episodes, log_probabilities=episode_logs, running=running),
            ),
        ),
        Function(
            "ia2c.actor_loss",
            "L_i = -1/K sum_k A_ki log pi_i(a_ki), for each agent.",
            A2C,
            {"advantages": "float64 [K, n]", **weighted},
            "float64 [n]",
            torched(ia2c.actor_loss),
            _detached_faults(ia2c.actor_loss, 0),
            (
                case("one", advantages=[[2.0, -1.0]], log_probabilities=[[-1.0, -0.5]]),
                case("two", advantages=one, log_probabilities=one_log),
                case("batch", advantages=weights, log_probabilities=logs),
            ),
        ),
        Function(
            "coma.actor_loss",
            "L_i = -1/K sum over episodes of sum_t A_ti log pi_i(a_ti), over the time steps of the episode.",
            COMA,
            {"advantages": "float64 [K, T, n]", **weighted, "running": "bool [K, T]: whether t belongs to the episode"},
            "float64 [n]",
            torched(coma.actor_loss),
            (
                *_detached_faults(coma.actor_loss, 0),
                masked,
                Fault(
                    "divided_by_length",
                    "averages over an episode's time steps",
                    torched(
                        lambda advantages, log_probabilities, running: reinforce.loss(
                            advantages, log_probabilities, running
                        )
                    ),
                ),
            ),
            (
                case("one-step", advantages=[[[2.0, 3.0]]], log_probabilities=[[[-1.0, -0.5]]], running=[[True]]),
                case("early-end", advantages=cut["weights"], log_probabilities=cut["logs"], **short),
                case("batch", advantages=episodes, log_probabilities=episode_logs, running=running),
            ),
        ),
        Function(
            "coma.critic_loss",
            "The mean over agents and running episodes of (y - Q)^2; 0 where none runs.",
            COMA,
            {"y": "float64 [K, n]", "values": "float64 [K, n]", "running": "bool [K]"},
            "float64",
            torched(coma.critic_loss),
            (
                Fault(
                    "over_all_episodes",
                    "divides by the number of all episodes, over or not",
                    torched(
                        lambda y, values, running: (
                            coma.critic_loss(y, values, running) * running.sum(-1) / running.shape[-1]
                        )
                    ),
                ),
                Fault(
                    "episodes_that_are_over",
                    "counts episodes that are over",
                    _otherwise(coma.critic_loss, running=lambda inputs: torch.ones_like(inputs["running"])),
                ),
                Fault(
                    "sum_over_agents",
                    "adds up over the agents",
                    torched(lambda y, values, running: coma.critic_loss(y, values, running) * y.shape[-1]),
                ),
            ),
            (
                case("all-running", y=[[1.0, 2.0], [3.0, 4.0]], values=[[0.0, 0.0], [1.0, 1.0]], running=[True, True]),
                case("one-over", y=[[1.0, 2.0], [8.0, 8.0]], values=[[0.0, 0.0], [0.0, 0.0]], running=[True, False]),
                case("none-running", y=[[1.0, 2.0]], values=[[0.0, 0.0]], running=[False]),
                case("one-agent", y=[[3.0], [1.0]], values=[[1.0], [1.0]], running=[True, True]),
            ),
        ),
        Function(
            "pareto_ac.actor_loss",
            "L_i = -1/B sum_b (A_bi log pi_i(a_bi) + c H_bi), with the entropies H.",
            PARETO,
            {
                "advantages": "float64 [B, n]",
                **weighted,
                "entropies": "float64 [B, n]",
                "coefficient": "float64: c",
            },
            "float64 [n]",
            torched(pareto_ac.actor_loss),
            (
                *_detached_faults(pareto_ac.actor_loss, 0),
                Fault(
                    "entropy_lowered",
                    "has the sign that lowers the entropy",
                    _otherwise(pareto_ac.actor_loss, coefficient=lambda inputs: -inputs["coefficient"]),
                ),
                Fault(
                    "no_entropy",
                    "leaves the entropy out",
                    _otherwise(pareto_ac.actor_loss, coefficient=lambda inputs: 0.0),
                ),
            ),
            (
                case(
                    "one",
                    advantages=[[2.0, -1.0]],
                    log_probabilities=[[-1.0, -0.5]],
                    entropies=[[0.5, 0.25]],
                    coefficient=0.5,
                ),
                case(
                    "no-entropy",
                    advantages=one,
                    log_probabilities=one_log,
                    entropies=[[0.5, 1.0], [0.25, 1.0]],
                    coefficient=0.0,
                ),
                case("batch", advantages=weights, log_probabilities=logs, entropies=entropies, coefficient=0.125),
            ),
        ),
    )


FUNCTIONS = (*_target_functions(), *_return_functions(), *_advantage_functions(), *_loss_functions())
