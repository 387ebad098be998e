"""The same step, traced by torch.compile: acting, storing, sampling, the gradient and the update.

A step is one graph. Where it repeats a time step for as long as an episode lasts, it is a graph for that and others for
what is learned from the episode: one graph of them all would take longer to compile than most runs take.

Algorithm files keep to zero_grad(), backward() and step() of torch's optimisers. The compiler traces through backward()
where it is told to (torch._dynamo.config.trace_autograd_ops), but not through those optimisers: it breaks the graph
there, and gradients made inside a graph do not reach an optimiser outside of it. While a compiled step runs, a stand-in
takes each optimiser's place, which makes the same update of the same state by plain tensor operators.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, RMSprop

from marlspec.errors import InputError
from marlspec.reference.parts.learner import Learner

Settings: TypeAlias = Mapping[str, Any]

COUNTERS = (
    r"L\['self'\].*\.(t|updates|size|cursor)$"  # integers of learner and replay buffer, as the compiler calls them
)
# What may change from step to step: what the counters decide, and torch's own modes. A learner is made of the same
# modules, settings and shapes throughout; asking for each of them before every step would take a third of its time.
ASKED = {
    "SHAPE_ENV",
    "GRAD_MODE",
    "GLOBAL_STATE",
    "DEFAULT_DEVICE",
    "DETERMINISTIC_ALGORITHMS",
    "TORCH_FUNCTION_STATE",
    "AUTOGRAD_SAVED_TENSORS_HOOKS",
}


@contextmanager
def compiled_step(learner: Learner) -> Iterator[Callable[[], None]]:
    """Lend the learner's step() with each of its graphs compiled.

    Compiled steps draw the same random numbers as plain ones. The compiler starts again where the graph is another one:
    at the first copy of the target networks, for instance, but not because a counter has moved on.

    Raises:
        InputError: an optimiser for which there is no stand-in.
    """
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor
    import torch.compiler.config as compiler

    optimisers = learner.optimisers()
    stand_ins = {name: _stand_in(name, own) for name, own in optimisers.items()}
    traceable = dynamo.patch(allow_unspec_int_on_nn_module=True, trace_autograd_ops=True)
    counting = compiler.patch(dynamic_sources=COUNTERS)  # type: ignore[attr-defined]
    # Shapes are not asked for at each step either: see ASKED.
    trusting = inductor.patch(fallback_random=True, size_asserts=False, alignment_asserts=False)
    with traceable, counting, trusting:
        graphs = {
            name: torch.compile(getattr(learner, name), fullgraph=True, options={"guard_filter_fn": _asked})
            for name in learner.graphs
        }
        _forget_gradients(stand_ins)

        def step() -> None:
            with _instead(learner, {**stand_ins, **graphs}):
                learner.step()
            _forget_gradients(stand_ins)  # they would be a change to compile anew for

        yield step


@contextmanager
def _instead(learner: Learner, others: Mapping[str, Any]) -> Iterator[None]:
    """Let others take the places of a learner's attributes and methods for a while."""
    own = vars(learner)
    before = {name: own[name] for name in others if name in own}
    own.update(others)
    try:
        yield
    finally:
        for name in others:
            del own[name]
        own.update(before)


def _forget_gradients(stand_ins: Mapping[str, "StandIn"]) -> None:
    for stand_in in stand_ins.values():
        stand_in.zero_grad()


def _asked(guards: Sequence[Any]) -> list[bool]:
    """Which of the compiler's conditions are asked for before each step."""
    return [guard.guard_type in ASKED for guard in guards]


class StandIn(ABC):
    """The update of one of torch's optimisers, on that optimiser's own parameters, settings and state.

    Attributes:
        updated: each parameter, its state and the settings of its group.
        buffers: the tensors that the optimiser keeps for each parameter, besides the number of updates.
        required: the values of settings that the update does not know; those of torch unless someone changes them.
    """

    buffers: ClassVar[tuple[str, ...]]
    required: ClassVar[Settings] = {
        "weight_decay": 0,
        "maximize": False,
        "differentiable": False,
        "amsgrad": False,
        "decoupled_weight_decay": False,
        "momentum": 0,
        "centered": False,
    }

    def __init__(self, optimiser: Optimizer) -> None:
        """Take an optimiser's groups, and make the state that it would make at its first step.

        Raises:
            InputError: it has a setting that changes the update in a way that is not known here.
        """
        for group in optimiser.param_groups:
            odd = [name for name, value in self.required.items() if group.get(name, value) != value]
            if odd:
                raise InputError(f"no compiled step for {type(optimiser).__name__} with {odd[0]}={group[odd[0]]!r}")
        # A list, since a compiled step looks the entries of a dictionary whose keys are tensors up at length.
        self.updated = [
            (parameter, self._begun(optimiser.state[parameter], parameter, fused=bool(group.get("fused"))), group)
            for group in optimiser.param_groups
            for parameter in group["params"]
        ]

    def _begun(self, state: dict[str, Tensor], parameter: nn.Parameter, *, fused: bool) -> dict[str, Tensor]:
        if not state:
            state["step"] = torch.zeros((), device=parameter.device if fused else "cpu")
            state.update({name: torch.zeros_like(parameter) for name in self.buffers})
        return state

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter, _, _ in self.updated:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient."""
        for parameter, state, group in self.updated:
            if parameter.grad is not None:
                state["step"] += 1
                self.update(parameter, parameter.grad, state, group)

    @staticmethod
    @abstractmethod
    def update(parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], settings: Settings) -> None:
        """Change the parameter and the state."""


class AdamStandIn(StandIn):
    """Adam (Kingma, Ba 2015, Algorithm 1)."""

    buffers = ("exp_avg", "exp_avg_sq")

    @staticmethod
    def update(parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], settings: Settings) -> None:
        """Follow the mean of the gradients over the root of their mean square, both without their bias to zero."""
        t, mean, square = state["step"], state["exp_avg"], state["exp_avg_sq"]
        lr, betas, eps = settings["lr"], settings["betas"], settings["eps"]
        mean.lerp_(gradient, 1 - betas[0])
        square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        root = (square / (1 - betas[1] ** t)).sqrt()
        parameter.addcdiv_(mean / (1 - betas[0] ** t), root + eps, value=-lr)


class RMSpropStandIn(StandIn):
    """RMSprop (Tieleman, Hinton 2012)."""

    buffers = ("square_avg",)

    @staticmethod
    def update(parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], settings: Settings) -> None:
        """Follow the gradient over the root of the mean square of gradients."""
        square, alpha = state["square_avg"], settings["alpha"]
        square.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        parameter.addcdiv_(gradient, square.sqrt() + settings["eps"], value=-settings["lr"])


STAND_INS: dict[type[Optimizer], type[StandIn]] = {Adam: AdamStandIn, RMSprop: RMSpropStandIn}


def _stand_in(name: str, optimiser: Optimizer) -> StandIn:
    if type(optimiser) not in STAND_INS:
        known = " or ".join(kind.__name__ for kind in STAND_INS)
        raise InputError(f"no compiled step with {name} = {type(optimiser).__name__}: use {known}, or do not compile")
    return STAND_INS[type(optimiser)](optimiser)
