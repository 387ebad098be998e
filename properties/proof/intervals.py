"""Bounds on a mixer's slopes over a box of inputs: interval arithmetic on values and on derivatives.

Each value of the traced graph carries bounds [low, high] and, where it depends on the utilities, bounds on its
derivative by each utility (forward mode, one leading axis per utility). The box may be unbounded: infinity is a bound
like any other, and 0 times infinity counts as 0, since the zero is exact. Only continuous, piecewise differentiable
operators are allowed on values that depend on the utilities, so that the mean value theorem turns slope bounds into
bounds on differences:

    Q_tot(q + d) - Q_tot(q) >= sum_i slope_low_i d_i      for d >= 0.

Sums whose terms differ in sign are widened by their rounding error; sums of non-negative bounds stay non-negative.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import getitem
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import Node

from marlspec.properties.proof.graph import INFINITY, Graph, Unknown, location, needed


@dataclass(frozen=True)
class Interval:
    """Bounds on a value, and on its derivatives where it depends on the utilities.

    Attributes:
        low, high: bounds, of the value's shape.
        slope_low, slope_high: bounds on the derivatives, shape [n_utilities, *shape]; None where there are none.
    """

    low: Tensor
    high: Tensor
    slope_low: Tensor | None = None
    slope_high: Tensor | None = None

    @property
    def varies(self) -> bool:
        """Whether the value depends on the utilities."""
        return self.slope_low is not None

    @property
    def fixed(self) -> bool:
        """Whether this is one known number per element."""
        return not self.varies and bool((self.low == self.high).all())


def slopes(
    graph: Graph,
    utilities: tuple[Float[Tensor, "1 n"], Float[Tensor, "1 n"]],
    state: tuple[Float[Tensor, "1 s"], Float[Tensor, "1 s"]],
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], float, float]:
    """Bound the derivatives of Q_tot by each utility, and Q_tot itself, over a box.

    Args:
        graph: a mixer traced at batch size 1, with utilities and state as its inputs.
        utilities, state: lower and upper corners of the box; infinite corners are allowed.

    Returns:
        Lower and upper bounds on the slopes, shape [n] each, and on the value.

    Raises:
        Unknown: an operator has no interval rule.
    """
    low, high = (bound.double() for bound in utilities)
    seed = torch.eye(low.shape[-1], dtype=torch.float64)[:, None, :]
    values: dict[str, Any] = {
        graph.inputs[0]: Interval(low, high, seed, seed),
        graph.inputs[1]: Interval(state[0].double(), state[1].double()),
    }
    for name, constant in graph.constants.items():
        exact = constant.double() if constant.dtype.is_floating_point else constant
        values[name] = Interval(exact, exact)
    for node in needed(graph):
        values[node.name] = _apply(node, values)
    result = values[graph.output.name]
    if not isinstance(result, Interval):
        raise Unknown("the target does not return one tensor")
    n = low.shape[-1]
    if result.slope_low is None or result.slope_high is None:
        zeros = torch.zeros(n, dtype=torch.float64)
        return zeros, zeros, float(result.low.min()), float(result.high.max())
    return (
        result.slope_low.reshape(n, -1).amin(1),
        result.slope_high.reshape(n, -1).amax(1),
        float(result.low.min()),
        float(result.high.max()),
    )


def _apply(node: Node, values: dict[str, Any]) -> Any:
    args = [_lookup(argument, values) for argument in node.args]
    kwargs = {name: _lookup(argument, values) for name, argument in node.kwargs.items()}
    if node.target is getitem:
        return args[0][args[1]]
    if node.meta.get("val") is None:
        return None
    inputs = _intervals_in([*args, *kwargs.values()])
    name = str(node.target).removeprefix("aten.")
    try:
        if all(value.fixed for value in inputs):
            return _evaluate(node, args, kwargs)
        if name in SHAPES:
            return _move(node, args, kwargs)
        if name in RULES:
            return RULES[name](*args, **kwargs)
    except (TypeError, RuntimeError, ValueError, IndexError, ArithmeticError) as error:
        raise Unknown(f"{location(node)}: {error}") from None
    raise Unknown(f"{location(node)} has no interval rule")


def _lookup(argument: Any, values: dict[str, Any]) -> Any:
    if isinstance(argument, Node):
        return values[argument.name]
    if isinstance(argument, (list, tuple)):
        return [_lookup(item, values) for item in argument]
    return argument


def _intervals_in(values: list[Any]) -> list[Interval]:
    found: list[Interval] = []
    for value in values:
        if isinstance(value, Interval):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(_intervals_in(list(value)))
    return found


def _call(node: Node, args: list[Any], kwargs: dict[str, Any], pick: Callable[[Interval], Tensor]) -> Any:
    """Run the operator itself on one corner of each interval."""

    def corner(value: Any) -> Any:
        if isinstance(value, Interval):
            return pick(value)
        if isinstance(value, list):
            return [corner(item) for item in value]
        return value

    assert callable(node.target)
    return node.target(*[corner(value) for value in args], **{name: corner(value) for name, value in kwargs.items()})


def _evaluate(node: Node, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Known numbers in, known numbers out: any operator will do, in float64 whatever the target asked for."""
    kwargs = {name: torch.float64 if value in _FLOATS else value for name, value in kwargs.items()}
    args = [torch.float64 if isinstance(value, torch.dtype) and value in _FLOATS else value for value in args]
    result = _call(node, args, kwargs, lambda value: value.low)
    if isinstance(result, Tensor):
        return Interval(result, result)
    if isinstance(result, (list, tuple)):
        return [Interval(item, item) for item in result]
    raise Unknown(f"{location(node)} gives neither a tensor nor several")


def _move(node: Node, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Elements are moved or repeated: do the same to the bounds, and to the slopes along their leading axis."""
    if str(node.target) not in _CATS and not all(x.fixed for x in _intervals_in([*args[1:], *kwargs.values()])):
        raise Unknown(f"{location(node)} takes elements that depend on its inputs")
    if not _is_floating(node.meta["val"]):
        raise Unknown(f"{location(node)} makes integers of something that is known by its bounds only")
    args = [torch.float64 if isinstance(value, torch.dtype) and value in _FLOATS else value for value in args]
    kwargs = {name: torch.float64 if value in _FLOATS else value for name, value in kwargs.items()}
    low, high = (_call(node, args, kwargs, pick) for pick in (lambda v: v.low, lambda v: v.high))
    varying = [value for value in _intervals_in([*args, *kwargs.values()]) if value.varies]
    if not varying:
        return _wrap(low, high, None, None)
    n = len(varying[0].slope_low)  # type: ignore[arg-type]
    joined = str(node.target) in _CATS

    def one(index: int, which: str) -> Any:
        def slope(value: Interval) -> Tensor:
            found: Tensor | None = getattr(value, which)
            if found is not None:
                return found[index]
            return torch.zeros_like(value.low) if joined else value.low  # else it is an index

        return _call(node, args, kwargs, slope)

    return _wrap(low, high, [one(i, "slope_low") for i in range(n)], [one(i, "slope_high") for i in range(n)])


def _is_floating(value: Any) -> bool:
    values = value if isinstance(value, (list, tuple)) else [value]
    return all(isinstance(item, Tensor) and item.dtype.is_floating_point for item in values)


def _wrap(low: Any, high: Any, slope_low: list[Any] | None, slope_high: list[Any] | None) -> Any:
    if isinstance(low, Tensor):
        if slope_low is None or slope_high is None:
            return Interval(low, high)
        return Interval(low, high, torch.stack(slope_low), torch.stack(slope_high))
    pieces = range(len(low))
    return [
        _wrap(
            low[k],
            high[k],
            None if slope_low is None else [item[k] for item in slope_low],
            None if slope_high is None else [item[k] for item in slope_high],
        )
        for k in pieces
    ]


# --- interval arithmetic ----------------------------------------------------------------------------------------------

Bounds = tuple[Tensor, Tensor]


def _as_interval(value: Any) -> Interval:
    if isinstance(value, Interval):
        return value
    if isinstance(value, (bool, int, float)):
        number = torch.tensor(float(value), dtype=torch.float64)
        return Interval(number, number)
    raise TypeError(f"argument {value!r} is neither a tensor nor a number")


def _times(a: Bounds, b: Bounds) -> Bounds:
    corners = torch.stack([a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]])
    corners = corners.nan_to_num(nan=0.0, posinf=INFINITY, neginf=-INFINITY)
    return corners.amin(0), corners.amax(0)


def _plus(a: Bounds, b: Bounds) -> Bounds:
    zero = torch.zeros((), dtype=torch.float64).expand((a[0] + b[0]).shape)
    return _outward(torch.stack([a[0] + zero, b[0] + zero]), torch.stack([a[1] + zero, b[1] + zero]), 0)


def _outward(low: Tensor, high: Tensor, dim: int | list[int], keepdim: bool = False) -> Bounds:
    """Sums along `dim`, widened by the rounding error where they are not exact; non-negative terms keep a sum >= 0."""
    dims = [dim] if isinstance(dim, int) else dim
    down, up = low.sum(dims, keepdim=keepdim), high.sum(dims, keepdim=keepdim)
    down_bound = down - _rounding(low, dims, keepdim)
    up_bound = up + _rounding(high, dims, keepdim)
    return (
        torch.where(_all(low >= 0, dims, keepdim), down_bound.clamp(min=0), down_bound),
        torch.where(_all(high <= 0, dims, keepdim), up_bound.clamp(max=0), up_bound),
    )


def _rounding(terms: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    """A bound on the rounding error of a sum; none for multiples of 2^-20 that stay below 2^30."""
    finite = torch.where(terms.isinf(), 0.0, terms)
    size = finite.abs().sum(dims, keepdim=keepdim)
    exact = _all((finite * 2.0**20).frac() == 0, dims, keepdim) & (size < 2.0**30)
    return torch.where(exact, 0.0, terms.numel() * torch.finfo(torch.float64).eps * size)


def _all(values: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    for dim in sorted((dim % values.ndim for dim in dims), reverse=True):
        values = values.all(dim, keepdim=keepdim)
    return values


def _value(x: Interval) -> Bounds:
    return x.low, x.high


def _slope(x: Interval) -> Bounds:
    assert x.slope_low is not None
    assert x.slope_high is not None
    return x.slope_low, x.slope_high


def _build(value: Bounds, slope: Bounds | None) -> Interval:
    if slope is None:
        return Interval(*value)
    shape = (slope[0].shape[0], *value[0].shape)
    return Interval(*value, slope[0].expand(shape), slope[1].expand(shape))


def _aligned(slope: Bounds, own: Tensor, other: Tensor) -> Bounds:
    """Insert axes behind the leading one, so that a slope broadcasts as its value does."""
    missing = max(other.ndim - own.ndim, 0)
    index = (slice(None), *([None] * missing))
    return slope[0][index], slope[1][index]


def _add(first: Any, second: Any, alpha: Any = 1) -> Interval:
    a, b = _as_interval(first), _mul(second, alpha) if alpha != 1 else _as_interval(second)
    value = _plus(_value(a), _value(b))
    if a.varies and b.varies:
        return _build(value, _plus(_aligned(_slope(a), a.low, b.low), _aligned(_slope(b), b.low, a.low)))
    if a.varies:
        return _build(value, _aligned(_slope(a), a.low, b.low))
    return _build(value, _aligned(_slope(b), b.low, a.low) if b.varies else None)


def _neg(value: Any) -> Interval:
    x = _as_interval(value)
    return _build((-x.high, -x.low), (-_slope(x)[1], -_slope(x)[0]) if x.varies else None)


def _sub(first: Any, second: Any, alpha: Any = 1) -> Interval:
    return _add(first, _neg(second), alpha)


def _rsub(first: Any, second: Any, alpha: Any = 1) -> Interval:
    return _sub(second, first, alpha)


def _mul(first: Any, second: Any) -> Interval:
    a, b = _as_interval(first), _as_interval(second)
    value = _times(_value(a), _value(b))
    terms = []
    if a.varies:
        terms.append(_times(_aligned(_slope(a), a.low, b.low), _value(b)))
    if b.varies:
        terms.append(_times(_aligned(_slope(b), b.low, a.low), _value(a)))
    if not terms:
        return _build(value, None)
    return _build(value, terms[0] if len(terms) == 1 else _plus(*terms))


def _div(first: Any, second: Any) -> Interval:
    b = _as_interval(second)
    if b.varies or not bool(((b.low > 0) | (b.high < 0)).all()):
        raise ValueError("the divisor depends on the utilities or may be zero")
    return _mul(first, Interval(1 / b.high, 1 / b.low))


def _summed(x: Interval, dim: Any = None, keepdim: bool = False) -> Interval:
    dims = list(range(x.low.ndim)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else list(dim)
    dims = [d % x.low.ndim for d in dims]
    value = _outward(x.low, x.high, dims, keepdim)
    if not x.varies:
        return _build(value, None)
    return _build(value, _outward(*_slope(x), [d + 1 for d in dims], keepdim))


def _sum(value: Interval, dim: Any = None, keepdim: bool = False, **_: Any) -> Interval:
    return _summed(value, dim, keepdim)


def _mean(value: Interval, dim: Any = None, keepdim: bool = False, **_: Any) -> Interval:
    total = _summed(value, dim, keepdim)
    return _mul(total, total.low.numel() / value.low.numel())


def _matmul(first: Interval, second: Interval) -> Interval:
    """Products and sums spelled out: [.., m, k] by [.., k, p]."""
    vector = second.low.ndim == 1
    right = _reshaped(second, lambda t: t[..., None]) if vector else second
    left = _reshaped(first, lambda t: t[..., None, :]) if first.low.ndim == 1 else first
    product = _mul(_reshaped(left, lambda t: t[..., :, :, None]), _reshaped(right, lambda t: t[..., None, :, :]))
    result = _summed(product, -2)
    if first.low.ndim == 1:
        result = _reshaped(result, lambda t: t[..., 0, :])
    return _reshaped(result, lambda t: t[..., 0]) if vector else result


def _reshaped(x: Interval, move: Callable[[Tensor], Tensor]) -> Interval:
    """Apply a move that indexes from the end only, so that it serves the slopes' leading axis as well."""
    if not x.varies:
        return Interval(move(x.low), move(x.high))
    low, high = _slope(x)
    return Interval(move(x.low), move(x.high), move(low), move(high))


def _linear(value: Interval, weight: Interval, bias: Any = None) -> Interval:
    if weight.low.ndim == 1:
        return _matmul(value, weight)
    product = _matmul(value, _reshaped(weight, lambda t: t.transpose(-1, -2)))
    return product if bias is None else _add(product, bias)


def _addmm(bias: Any, first: Interval, second: Interval, *, beta: Any = 1, alpha: Any = 1) -> Interval:
    return _add(_mul(_matmul(first, second), alpha), _mul(bias, beta))


def _einsum(equation: str, operands: list[Interval], **_: Any) -> Interval:
    """Two operands, each letter at most once in each: align them to all letters, multiply, sum over what is dropped."""
    if not re.fullmatch(r"[a-z]+,[a-z]+->[a-z]*", equation.replace(" ", "")):
        raise ValueError("only einsum of two operands with an explicit output has an interval rule")
    inputs, output = equation.replace(" ", "").split("->")
    first, second = inputs.split(",")
    if len(set(first)) < len(first) or len(set(second)) < len(second):
        raise ValueError("einsum with repeated letters has no interval rule")
    dropped = [letter for letter in dict.fromkeys(first + second) if letter not in output]
    order = [*output, *dropped]
    left, right = (_lettered(x, letters, order) for x, letters in zip(operands, (first, second), strict=True))
    product = _mul(left, right)
    return _summed(product, [len(output) + k for k in range(len(dropped))]) if dropped else product


def _lettered(x: Interval, letters: str, order: list[str]) -> Interval:
    """Bring an operand's axes into the given order, with an axis of length one for each letter that it lacks."""
    present = [letters.index(letter) for letter in order if letter in letters]
    index = tuple(slice(None) if letter in letters else None for letter in order)

    def move(tensor: Tensor) -> Tensor:
        lead = tensor.ndim - len(letters)
        ordered = tensor.permute(*range(lead), *(lead + axis for axis in present))
        return ordered[(slice(None),) * lead + index]

    return _reshaped(x, move)


def _rising(
    function: Callable[[Tensor], Tensor], derivative: Callable[[Tensor, Tensor], Bounds]
) -> Callable[..., Interval]:
    """An elementwise, non-decreasing function with bounds on its derivative over [low, high]."""

    def rule(value: Any, **_: Any) -> Interval:
        x = _as_interval(value)
        bounds = (function(x.low), function(x.high))
        return _build(bounds, _times(_slope(x), derivative(x.low, x.high)) if x.varies else None)

    return rule


def _bump(peak: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Bounds]:
    """Bounds of a derivative that is even and falls with |x|."""

    def bounds(low: Tensor, high: Tensor) -> Bounds:
        nearest = torch.where((low <= 0) & (high >= 0), torch.zeros_like(low), torch.minimum(low.abs(), high.abs()))
        return peak(torch.maximum(low.abs(), high.abs())), peak(nearest)

    return bounds


def _step(low: Tensor, high: Tensor) -> Bounds:
    return (low > 0).double(), (high >= 0).double()


def _abs(value: Any) -> Interval:
    x = _as_interval(value)
    high = torch.maximum(x.low.abs(), x.high.abs())
    low = torch.where((x.low <= 0) & (x.high >= 0), torch.zeros_like(high), torch.minimum(x.low.abs(), x.high.abs()))
    sign = (torch.where(x.low > 0, 1.0, -1.0).double(), torch.where(x.high < 0, -1.0, 1.0).double())
    return _build((low, high), _times(_slope(x), sign) if x.varies else None)


def _square(value: Any) -> Interval:
    x = _as_interval(value)
    size = _abs(Interval(x.low, x.high))
    return _build((size.low**2, size.high**2), _times(_slope(x), (2 * x.low, 2 * x.high)) if x.varies else None)


def _pow(value: Any, exponent: Any) -> Interval:
    if exponent == 2:
        return _square(value)
    raise ValueError("only squares have an interval rule")


def _elu(value: Any, alpha: Any = 1.0, scale: Any = 1.0, input_scale: Any = 1.0) -> Interval:
    if not (alpha >= 0 and scale == 1 and input_scale == 1):
        raise ValueError("only ELU with alpha >= 0 and no scale has an interval rule")

    def derivative(low: Tensor, high: Tensor) -> Bounds:
        def at(x: Tensor) -> Tensor:
            return torch.where(x > 0, torch.ones_like(x), alpha * x.clamp(max=0).exp())

        crosses = (low <= 0) & (high >= 0)
        ends = torch.stack([at(low), at(high), torch.where(crosses, torch.full_like(low, alpha), at(low))])
        return ends.amin(0), ends.amax(0)

    return _rising(lambda t: torch.nn.functional.elu(t, alpha), derivative)(value)


def _leaky_relu(value: Any, negative_slope: Any = 0.01) -> Interval:
    if not 0 <= negative_slope <= 1:
        raise ValueError("only slopes in [0, 1] have an interval rule")

    def derivative(low: Tensor, high: Tensor) -> Bounds:
        off, on = _step(low, high)
        return negative_slope + (1 - negative_slope) * off, negative_slope + (1 - negative_slope) * on

    return _rising(lambda t: torch.nn.functional.leaky_relu(t, negative_slope), derivative)(value)


def _softplus(value: Any, beta: Any = 1.0, threshold: Any = 20.0) -> Interval:
    if not (beta >= 0.1 and threshold >= 20):  # its step down at the threshold is 2e-9 / beta
        raise ValueError("only softplus with beta >= 0.1 and a threshold of 20 or more has an interval rule")

    def function(t: Tensor) -> Tensor:
        return torch.nn.functional.softplus(t, beta, threshold)

    return _rising(function, lambda low, high: ((beta * low).sigmoid(), (beta * high).sigmoid()))(value)


_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_CATS = ("aten.cat.default", "aten.stack.default")
SHAPES = frozenset(
    [
        "view.default",
        "reshape.default",
        "_unsafe_view.default",
        "expand.default",
        "permute.default",
        "t.default",
        "transpose.int",
        "squeeze.default",
        "squeeze.dim",
        "unsqueeze.default",
        "select.int",
        "slice.Tensor",
        "clone.default",
        "contiguous.default",
        "alias.default",
        "detach.default",
        "_to_copy.default",
        "to.dtype",
        "flip.default",
        "repeat.default",
        "flatten.using_ints",
        "index.Tensor",
        "index_select.default",
        "split.Tensor",
        "split_with_sizes.default",
        "chunk.default",
        "unbind.int",
        "cat.default",
        "stack.default",
        "lift_fresh_copy.default",
    ]
)
RULES: dict[str, Callable[..., Any]] = {
    "add.Tensor": _add,
    "add.Scalar": _add,
    "sub.Tensor": _sub,
    "sub.Scalar": _sub,
    "rsub.Scalar": _rsub,
    "mul.Tensor": _mul,
    "mul.Scalar": _mul,
    "div.Tensor": _div,
    "div.Scalar": _div,
    "neg.default": _neg,
    "sum.default": _sum,
    "sum.dim_IntList": _sum,
    "mean.default": _mean,
    "mean.dim": _mean,
    "mm.default": _matmul,
    "bmm.default": _matmul,
    "matmul.default": _matmul,
    "linear.default": _linear,
    "addmm.default": _addmm,
    "einsum.default": _einsum,
    "baddbmm.default": _addmm,
    "abs.default": _abs,
    "square.default": _square,
    "pow.Tensor_Scalar": _pow,
    "relu.default": _rising(torch.relu, _step),
    "elu.default": _elu,
    "leaky_relu.default": _leaky_relu,
    "softplus.default": _softplus,
    "tanh.default": _rising(torch.tanh, _bump(lambda t: 1 - t.tanh() ** 2)),
    "sigmoid.default": _rising(torch.sigmoid, _bump(lambda t: t.sigmoid() * (-t).sigmoid())),
    "exp.default": _rising(torch.exp, lambda low, high: (low.exp(), high.exp())),
}
