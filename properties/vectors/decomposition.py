"""Vectors of the value decompositions: VDN and QMIX."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from marlspec.properties.vectors.drawn import Drawn
from marlspec.properties.vectors.functions import Case, Fault, Function, case, torched
from marlspec.reference.decomposition import qmix, vdn

INF = float("inf")
VDN = "Sunehag et al. 2018, arXiv 1706.05296; Albrecht et al. 2024, Algorithm 21"
QMIX = "Rashid et al. 2018, arXiv 1803.11485; Albrecht et al. 2024, Algorithm 22"
TRANSITION = {
    "reward": "float64 [B]",
    "terminated": "bool [B]: whether s' is terminal",
    "next_utilities": "float64 [B, n, A]: Q(h_i', a) of each agent and action; -inf where the action is unavailable",
}
THETA_MIX = {
    "w1": "float64 [B, n, m], not negative",
    "b1": "float64 [B, m]",
    "w2": "float64 [B, m], not negative",
    "v": "float64 [B]",
}
HYPER = ("h1", "b1", "h2", "v_hidden", "v_out")


def bootstrap_faults(target: Any) -> tuple[Fault, ...]:
    """The faults of every one-step target with a maximum in it, which takes terminated, next_utilities and gamma."""

    def otherwise(**changes: Any) -> Any:
        return torched(lambda **inputs: target(**{**inputs, **{k: change(inputs) for k, change in changes.items()}}))

    return (
        Fault(
            "bootstraps_after_termination",
            "adds the value of the next state where the episode has terminated",
            otherwise(terminated=lambda inputs: torch.zeros_like(inputs["terminated"])),
        ),
        Fault(
            "termination_inverted",
            "adds the value of the next state where the episode has terminated, and nowhere else",
            otherwise(terminated=lambda inputs: ~inputs["terminated"]),
        ),
        Fault("no_discount", "takes gamma to be 1", otherwise(gamma=lambda inputs: 1.0)),
        Fault(
            "mean_over_actions",
            "averages over the available next actions instead of taking the best",
            otherwise(next_utilities=lambda inputs: _averaged(inputs["next_utilities"])),
        ),
        Fault(
            "magnitudes",
            "compares the next utilities by their magnitudes",
            otherwise(next_utilities=lambda inputs: _largest_magnitude(inputs["next_utilities"])),
        ),
        Fault(
            "zeros_for_unavailable",
            "takes the utility 0 for actions that are unavailable",
            otherwise(next_utilities=lambda inputs: _offered(inputs["next_utilities"])),
        ),
    )


def _offered(utilities: Tensor) -> Tensor:
    return torch.where(utilities > -INF, utilities, 0.0)


def _averaged(utilities: Tensor) -> Tensor:
    offered = (utilities > -INF).sum(-1, keepdim=True)
    return (_offered(utilities).sum(-1, keepdim=True) / offered).expand_as(utilities)


def _largest_magnitude(utilities: Tensor) -> Tensor:
    sizes = torch.where(utilities > -INF, utilities.abs(), -1.0)
    return utilities.gather(-1, sizes.argmax(-1, keepdim=True)).expand_as(utilities)


def transitions(name: str, rows: int, n: int, actions: int) -> dict[str, Any]:
    """Draw a batch for a one-step target; every fourth row is terminal."""
    drawn = Drawn(name)
    utilities = drawn.quarters((rows, n, actions))
    return {
        "reward": drawn.quarters((rows,)),
        "terminated": drawn.integers(0, 3, (rows,)) == 0,
        "next_utilities": utilities,
    }


def transition_cases(name: str, more: Any) -> tuple[Case, ...]:
    """The cases of a one-step target; `more(case name, rows, n)` makes the arguments beyond those of a transition."""

    def one(label: str, reward: Any, terminated: Any, next_utilities: Any, gamma: float) -> Case:
        inputs = {"reward": reward, "terminated": terminated, "next_utilities": next_utilities, "gamma": gamma}
        return case(label, **inputs, **more(f"{name}/{label}", len(reward), len(next_utilities[0])))

    def drawn(label: str, rows: int, n: int, actions: int, gamma: float) -> Case:
        identifier = f"{name}/{label}"
        return case(label, **transitions(identifier, rows, n, actions), gamma=gamma, **more(identifier, rows, n))

    return (
        one("ongoing", [1.0], [False], [[[0.5, 2.0], [1.0, 3.0]]], 0.875),
        one("terminal", [1.0], [True], [[[0.5, 2.0], [1.0, 3.0]]], 0.875),
        one("both", [1.0, -1.0], [True, False], [[[4.0, 2.0]], [[4.0, 2.0]]], 0.5),
        one("undiscounted", [0.25], [False], [[[1.0, 3.0], [2.0, 0.0], [1.0, 1.5]]], 1.0),
        one("myopic", [0.25], [False], [[[1.0, 3.0], [2.0, 0.0]]], 0.0),
        one("negative", [0.0], [False], [[[-1.0, -4.0], [-2.0, -3.0]]], 0.875),
        one("ties", [0.5], [False], [[[2.0, 2.0, 2.0], [1.0, 1.0, 1.0]]], 0.875),
        one("unavailable", [0.5], [False], [[[-INF, -1.0, -2.0], [-1.5, -3.0, -INF]]], 0.875),
        drawn("batch", 8, 3, 4, 0.875),
        drawn("large", 64, 5, 8, 0.9375),
    )


# --- VDN --------------------------------------------------------------------------------------------------------------


def _vdn_mix_cases() -> tuple[Case, ...]:
    return (
        case("two", utilities=[[1.0, 2.0]]),
        case("one-agent", utilities=[[1.5], [-2.0]]),
        case("cancel", utilities=[[4.0, -4.0, 0.5]]),
        case("equal", utilities=[[0.0, 0.0, 0.0]]),
        case("batch", utilities=Drawn("vdn.mix/batch").quarters((8, 5))),
        case("large", utilities=Drawn("vdn.mix/large").quarters((64, 8))),
    )


SQUARED_ERROR_FAULTS = (
    Fault("sum_of_squares", "adds the squares up", torched(lambda y, value: (y - value).square().sum(-1))),
    Fault("half", "takes half of the mean square", torched(lambda y, value: (y - value).square().mean(-1) / 2)),
    Fault("absolute", "takes absolute errors", torched(lambda y, value: (y - value).abs().mean(-1))),
    Fault("mean_first", "squares the mean of the errors", torched(lambda y, value: (y - value).mean(-1).square())),
)


def squared_error_cases(name: str) -> tuple[Case, ...]:
    """Pairs of targets and values; the numbers of transitions are powers of two, so that means are exact."""
    drawn = Drawn(f"{name}/batch")
    return (
        case("one", y=[3.0], value=[1.0]),
        case("exact", y=[1.0, 2.0], value=[1.0, 2.0]),
        case("opposite", y=[1.0, -1.0], value=[0.0, 0.0]),
        case("batch", y=drawn.quarters((32,)), value=drawn.quarters((32,))),
    )


def _vdn() -> tuple[Function, ...]:
    return (
        Function(
            "vdn.mix",
            "Q_tot = sum_i Q_i.",
            VDN,
            {"utilities": "float64 [B, n]: the utility of each agent's action"},
            "float64 [B]",
            torched(vdn.mix),
            (
                Fault("average", "averages over the agents", torched(lambda utilities: utilities.mean(-1))),
                Fault(
                    "last_left_out", "leaves out the last agent", torched(lambda utilities: utilities[..., :-1].sum(-1))
                ),
                Fault("magnitudes", "adds magnitudes", torched(lambda utilities: utilities.abs().sum(-1))),
                Fault("maximum", "takes the largest utility", torched(lambda utilities: utilities.amax(-1))),
            ),
            _vdn_mix_cases(),
        ),
        Function(
            "vdn.target",
            "y = r if s' is terminal, else r + gamma sum_i max_a Q(h_i', a).",
            VDN,
            {**TRANSITION, "gamma": "float64: discount"},
            "float64 [B]",
            torched(vdn.target),
            (
                *bootstrap_faults(vdn.target),
                Fault(
                    "average",
                    "averages over the agents",
                    torched(
                        lambda reward, terminated, next_utilities, gamma: vdn.target(
                            reward, terminated, next_utilities / next_utilities.shape[-2], gamma
                        )
                    ),
                ),
                Fault(
                    "same_action",
                    "lets all agents take the same next action",
                    torched(
                        lambda reward, terminated, next_utilities, gamma: torch.where(
                            terminated, reward, reward + gamma * next_utilities.clamp(min=-64).sum(-2).amax(-1)
                        )
                    ),
                ),
            ),
            transition_cases("vdn.target", lambda name, rows, n: {}),
        ),
        Function(
            "vdn.loss",
            "L = 1/B sum_b (y_b - Q_b)^2.",
            VDN,
            {"y": "float64 [B]: targets", "value": "float64 [B]: Q_tot of the actions taken"},
            "float64",
            torched(vdn.loss),
            SQUARED_ERROR_FAULTS,
            squared_error_cases("vdn.loss"),
        ),
    )


# --- QMIX -------------------------------------------------------------------------------------------------------------


def _theta_mix(name: str, rows: int, n: int, width: int = 2) -> dict[str, Any]:
    drawn = Drawn(f"{name} theta_mix")
    return {
        "w1": abs(drawn.quarters((rows, n, width), 2)),
        "b1": drawn.quarters((rows, width), 2),
        "w2": abs(drawn.quarters((rows, width), 2)),
        "v": drawn.quarters((rows,), 2),
    }


def _mix(utilities: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, v: Tensor) -> Tensor:
    return qmix.mix(utilities, qmix.MixingParameters(w1, b1, w2, v))


def _mix_with(activation: Any) -> Any:
    def mix(utilities: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, v: Tensor) -> Tensor:
        hidden: Tensor = activation((utilities.unsqueeze(-1) * w1).sum(-2) + b1)
        return (hidden * w2).sum(-1) + v

    return torched(mix)


def _mix_changed(**changes: Any) -> Any:
    return torched(lambda **inputs: _mix(**{**inputs, **{k: change(inputs[k]) for k, change in changes.items()}}))


def _qmix_mix_cases() -> tuple[Case, ...]:
    one = {"w1": [[[1.0, 0.5], [2.0, 0.0]]], "b1": [[0.5, -1.0]], "w2": [[1.0, 2.0]], "v": [0.25]}
    return (
        case("linear", utilities=[[1.0, 2.0]], **{**one, "b1": [[0.5, 1.0]]}),
        case("bent", utilities=[[-2.0, 0.5]], **one),
        case("at-zero", utilities=[[0.0, 0.0]], **one),
        case("dead-weight", utilities=[[3.0, 1.0]], **{**one, "w1": [[[0.0, 0.0], [1.0, 1.0]]], "b1": [[0.0, 0.0]]}),
        case("no-bias", utilities=[[1.0, 1.0]], **{**one, "b1": [[0.0, 0.0]], "v": [0.0]}),
        case("negative-v", utilities=[[1.0, 1.0]], **{**one, "b1": [[1.0, 0.0]], "v": [-4.0]}),
        case("batch", utilities=Drawn("qmix.mix/batch").quarters((8, 3)), **_theta_mix("qmix.mix/batch", 8, 3, 4)),
        case("large", utilities=Drawn("qmix.mix/large").quarters((64, 5)), **_theta_mix("qmix.mix/large", 64, 5, 16)),
    )


def _hypernetwork(parameters: dict[str, Tensor], n: int) -> qmix.Hypernetwork:
    """The reference's own, with the given weights [out, in] and biases [out]."""
    width, size = parameters["h2_weight"].shape
    with torch.random.fork_rng(devices=[]):  # what is drawn here is written over
        made = qmix.Hypernetwork(n, size, width).double()
    for layer in HYPER:
        own = getattr(made, layer)
        own.weight.copy_(parameters[f"{layer}_weight"].T.reshape(own.weight.shape))
        own.bias.copy_(parameters[f"{layer}_bias"].reshape(own.bias.shape))
    return made


def _mixer(utilities: Tensor, state: Tensor, **parameters: Tensor) -> Tensor:
    return qmix.mix(utilities, _hypernetwork(parameters, utilities.shape[-1])(state))


def _mixer_otherwise(change: Any) -> Any:
    """A mixer with other mixing parameters: change(raw outputs by layer, the right ones, the weights given)."""

    def mixer(utilities: Tensor, state: Tensor, **parameters: Tensor) -> Tensor:
        raw = {
            layer: state @ parameters[f"{layer}_weight"].T + parameters[f"{layer}_bias"]
            for layer in ("h1", "b1", "h2", "v_hidden")
        }
        n = utilities.shape[-1]
        right = _hypernetwork(parameters, n)(state)
        return qmix.mix(utilities, right._replace(**change(raw, right, parameters)))

    return torched(mixer)


MIXER_FAULTS = (
    Fault(
        "signed_w1",
        "leaves the weights of the first layer signed",
        _mixer_otherwise(lambda raw, right, given: {"w1": raw["h1"].view_as(right.w1)}),
    ),
    Fault(
        "signed_w2",
        "leaves the weights of the second layer signed",
        _mixer_otherwise(lambda raw, right, given: {"w2": raw["h2"]}),
    ),
    Fault(
        "clipped_weights",
        "clips negative weights at zero instead of taking magnitudes",
        _mixer_otherwise(lambda raw, right, given: {"w1": raw["h1"].relu().view_as(right.w1), "w2": raw["h2"].relu()}),
    ),
    Fault(
        "magnitude_of_bias",
        "takes magnitudes of the biases, too",
        _mixer_otherwise(lambda raw, right, given: {"b1": raw["b1"].abs()}),
    ),
    Fault(
        "transposed_w1",
        "reads the first hypernetwork's outputs with the hidden units running slower than the agents",
        _mixer_otherwise(
            lambda raw, right, given: {
                "w1": raw["h1"].abs().view(*right.w1.shape[:-2], right.w1.shape[-1], -1).transpose(-1, -2)
            }
        ),
    ),
    Fault(
        "v_without_bend",
        "leaves out the ReLU in the network of v",
        _mixer_otherwise(
            lambda raw, right, given: {
                "v": (raw["v_hidden"] @ given["v_out_weight"].T + given["v_out_bias"]).squeeze(-1)
            }
        ),
    ),
    Fault("no_v", "leaves v out", _mixer_otherwise(lambda raw, right, given: {"v": torch.zeros_like(right.v)})),
)


def _mixer_case(label: str, rows: int, n: int, size: int, width: int, positive: bool = False) -> Case:
    drawn = Drawn(f"qmix.mixer/{label}")
    outputs = {"h1": (n * width, size), "b1": (width, size), "h2": (width, size), "v_hidden": (width, size)}
    outputs["v_out"] = (1, width)
    parameters: dict[str, Any] = {}
    for layer, shape in outputs.items():
        weight, bias = drawn.quarters(shape, 1), drawn.quarters(shape[:1], 1)
        parameters |= {
            f"{layer}_weight": abs(weight) if positive else weight,
            f"{layer}_bias": abs(bias) if positive else bias,
        }
    state = drawn.quarters((rows, size), 2)
    return case(label, utilities=drawn.quarters((rows, n), 2), state=abs(state) if positive else state, **parameters)


def _qmix_target(reward: Tensor, terminated: Tensor, next_utilities: Tensor, gamma: float, **theta: Tensor) -> Tensor:
    return qmix.target(reward, terminated, next_utilities, qmix.MixingParameters(**theta), gamma)


def _qmix() -> tuple[Function, ...]:
    return (
        Function(
            "qmix.mix",
            "Q_tot = ELU(q w1 + b1) w2 + v, with given mixing parameters.",
            QMIX,
            {"utilities": "float64 [B, n]: the utility of each agent's action", **THETA_MIX},
            "float64 [B]",
            torched(_mix),
            (
                Fault("relu", "uses ReLU in place of ELU", _mix_with(functional.relu)),
                Fault("no_activation", "leaves the activation out", _mix_with(lambda values: values)),
                Fault("leaky_relu", "uses a leaky ReLU in place of ELU", _mix_with(functional.leaky_relu)),
                Fault("no_b1", "leaves b1 out", _mix_changed(b1=torch.zeros_like)),
                Fault("no_v", "leaves v out", _mix_changed(v=torch.zeros_like)),
                Fault("magnitude_of_v", "takes the magnitude of v", _mix_changed(v=torch.abs)),
                Fault(
                    "agents_reversed",
                    "hands the agents over in reverse order",
                    _mix_changed(utilities=lambda q: q.flip(-1)),
                ),
            ),
            _qmix_mix_cases(),
            digits=11,
        ),
        Function(
            "qmix.mixer",
            "The mixing parameters from the state by hypernetworks, then Q_tot: w1 = |h1(z)| as [n, m], b1 = b1(z), "
            "w2 = |h2(z)|, v = v_out(ReLU(v_hidden(z))), where each of them is x W^T + bias.",
            QMIX,
            {
                "utilities": "float64 [B, n]",
                "state": "float64 [B, z]",
                "h1_weight": "float64 [n m, z]; output i m + k is w1[i, k]",
                "h1_bias": "float64 [n m]",
                "b1_weight": "float64 [m, z]",
                "b1_bias": "float64 [m]",
                "h2_weight": "float64 [m, z]",
                "h2_bias": "float64 [m]",
                "v_hidden_weight": "float64 [m, z]",
                "v_hidden_bias": "float64 [m]",
                "v_out_weight": "float64 [1, m]",
                "v_out_bias": "float64 [1]",
            },
            "float64 [B]",
            torched(_mixer),
            MIXER_FAULTS,
            (
                _mixer_case("all-positive", 1, 2, 2, 3, positive=True),
                _mixer_case("one-row", 1, 2, 1, 2),
                _mixer_case("one-agent", 4, 1, 2, 2),
                _mixer_case("square", 4, 3, 2, 3),
                _mixer_case("batch", 8, 3, 4, 5),
            ),
            digits=11,
        ),
        Function(
            "qmix.target",
            "y = r if s' is terminal, else r + gamma f_mix(max_a Q(h_1', a) .. max_a Q(h_n', a)) with the mixing "
            "parameters of z'.",
            QMIX,
            {**TRANSITION, "gamma": "float64: discount", **THETA_MIX},
            "float64 [B]",
            torched(_qmix_target),
            bootstrap_faults(_qmix_target),
            transition_cases("qmix.target", _theta_mix),
            digits=11,
        ),
    )


FUNCTIONS = (*_vdn(), *_qmix())
