"""A structural proof that a mixer is monotone: no number of its parameters is looked at.

Abstract interpretation of the traced graph. Each tensor is described by facts that hold for every one of its elements:

- `change`: whether it may rise and whether it may fall when any utility rises (neither: it ignores the utilities);
- `signs`: which of negative, zero and positive it may be;
- `low`, `high`: bounds that hold for every parameter, such as a sigmoid's (so that ELU + 1 is known to be >= 0).

A product a b, for instance, changes by (delta a) b' + a (delta b), so its direction follows from the directions and
signs of its factors; |x| is non-negative whatever x is; ELU keeps the direction if alpha >= 0. If the output may only
rise, Q_tot is non-decreasing in every utility for every state and, since parameters enter as "may have any sign", for
every parameter.

Operators stand on an allow-list. Any other one is harmless on tensors that ignore the utilities (its result ignores
them, too, and may have any sign); on tensors that depend on them it ends the attempt with `Unknown`. The proof is
about real numbers (rounding aside), about the traced shape, and about the control path and mode that the trace went
through.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Flag
from operator import getitem
from typing import Any

import torch
from torch.fx import Node

from marlspec.properties.proof.graph import INFINITY, Graph, Unknown, location, needed


class Change(Flag):
    """What may happen to a value when a utility rises."""

    NONE = 0
    RISE = 1
    FALL = 2
    ANY = 3


class Signs(Flag):
    """Which signs a value may have."""

    NONE = 0
    NEGATIVE = 1
    ZERO = 2
    POSITIVE = 4
    NON_POSITIVE = 3
    NON_NEGATIVE = 6
    ANY = 7


@dataclass(frozen=True)
class Fact:
    """What is known of every element of a tensor."""

    change: Change
    signs: Signs
    low: float = -INFINITY
    high: float = INFINITY

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds, those that follow from the signs included."""
        low = self.low if Signs.NEGATIVE in self.signs else max(self.low, 0.0)
        high = self.high if Signs.POSITIVE in self.signs else min(self.high, 0.0)
        return low, high


def _bounded(fact: Fact, low: float, high: float) -> Fact:
    """Add bounds to a fact, and drop the signs that they exclude."""
    signs = fact.signs
    if low >= 0:
        signs &= Signs.NON_NEGATIVE
    if low > 0:
        signs &= Signs.POSITIVE
    if high <= 0:
        signs &= Signs.NON_POSITIVE
    if high < 0:
        signs &= Signs.NEGATIVE
    return Fact(fact.change, signs or fact.signs, max(fact.low, low), min(fact.high, high))


ANY_CONSTANT = Fact(Change.NONE, Signs.ANY)


def prove_monotone(graph: Graph, constants: Mapping[str, torch.Tensor] | None = None) -> None:
    """Prove that the graph's output is non-decreasing in every element of its first input.

    Args:
        graph: the traced target; its first input holds the utilities.
        constants: values by name whose signs may be used; without them the proof holds for all parameters.

    Raises:
        Unknown: the output may fall, or an operator is not on the allow-list; the message says where.
    """
    facts: dict[str, Any] = dict.fromkeys((*graph.inputs, *graph.constants), ANY_CONSTANT)
    facts[graph.inputs[0]] = Fact(Change.RISE, Signs.ANY)
    for name, value in (constants or {}).items():
        facts[name] = Fact(Change.NONE, _signs_of(value))
    for node in needed(graph):
        facts[node.name] = _apply(node, facts)
    result = facts[graph.output.name]
    if not isinstance(result, Fact):
        raise Unknown("the target does not return one tensor")
    if Change.FALL in result.change:
        raise Unknown(_blame(graph, facts))


def _apply(node: Node, facts: dict[str, Any]) -> Any:
    """The facts about a node's result, from those about its arguments."""
    args = [_lookup(argument, facts) for argument in node.args]
    kwargs = {name: _lookup(argument, facts) for name, argument in node.kwargs.items()}
    if node.target is getitem:
        return args[0][args[1]] if isinstance(args[0], tuple) else args[0]
    if node.meta.get("val") is None:
        return None  # an assertion: nothing flows out of it
    varies = any(fact.change for fact in _facts_in([*args, *kwargs.values()]))
    if varies and not _is_real(node.meta.get("val")):
        raise Unknown(f"{location(node)} turns utilities into something that is no real number")
    if not varies and not _is_real(node.meta["val"]):
        return _any_constant(node)  # integers wrap around and truncate, complex numbers have no sign
    known = _cancelled(node)
    if known is not None:
        return facts[known.name]
    odd = _odd(node, facts)
    if odd is not None:
        return odd
    rule = RULES.get(str(node.target))
    if rule is _mul and node.args[0] is node.args[1]:
        rule, args = _square, args[:1]
    if rule is not None:
        try:
            return rule(*args, **kwargs)
        except (_UnsupportedError, TypeError) as error:
            if varies:
                raise Unknown(f"{location(node)}: {error}") from None
    elif varies:
        raise Unknown(f"{location(node)} is not on the list of operators whose monotonicity is known")
    return _any_constant(node)


def _any_constant(node: Node) -> Any:
    value = node.meta["val"]
    return tuple(ANY_CONSTANT for _ in value) if isinstance(value, (tuple, list)) else ANY_CONSTANT


def _cancelled(node: Node) -> Node | None:
    """For a + (b - a), as straight-through estimators write it, return b: in real numbers they are equal."""
    if str(node.target) != "aten.add.Tensor" or node.kwargs or not all(isinstance(part, Node) for part in node.args):
        return None
    first, second = node.args
    difference = _original(second)
    if str(difference.target) != "aten.sub.Tensor" or difference.kwargs:
        return None
    minuend, subtrahend = difference.args
    same = isinstance(minuend, Node) and _original(subtrahend) is _original(first)
    return minuend if same and _shape(minuend) == _shape(node) else None


ORDER_ABOVE_ZERO = {"aten.log1p.default", "aten.sqrt.default", "aten.tanh.default", "aten.expm1.default"}


def _odd(node: Node, facts: Mapping[str, Any]) -> Fact | None:
    """What is known of sign(x) h(|x|) with h >= 0 non-decreasing above zero: it moves as x does.

    Below zero |x| falls as x rises, and -h(|x|) rises; above zero h(|x|) rises; and -h <= 0 <= h in between.
    """
    if str(node.target) != "aten.mul.Tensor" or node.kwargs or not all(isinstance(part, Node) for part in node.args):
        return None
    first, second = (part for part in node.args if isinstance(part, Node))
    for sign, size in ((first, second), (second, first)):
        x = _source(sign, "aten.sign.default", set())
        if x is None or x is not _source(size, "aten.abs.default", ORDER_ABOVE_ZERO):
            continue
        if not _shape(node) == _shape(sign) == _shape(size) or Signs.NEGATIVE in facts[size.name].signs:
            continue
        inner, height = facts[x.name], facts[size.name].bounds[1]
        return _bounded(Fact(inner.change, inner.signs | Signs.ZERO), -height, height)
    return None


def _source(node: Any, operator: str, passed: set[str]) -> Any:
    """The node x of operator(x), seen through one-place operators that may be passed; None where there is none."""
    node = _original(node)
    while str(node.target) in passed and len(node.args) == 1 and isinstance(node.args[0], Node):
        node = _original(node.args[0])
    return _original(node.args[0]) if str(node.target) == operator else None


def _original(node: Any) -> Any:
    """The node that a chain of detach and alias started from."""
    while isinstance(node, Node) and str(node.target) in ("aten.detach.default", "aten.alias.default"):
        node = node.args[0]
    return node


def _shape(node: Node) -> Any:
    return getattr(node.meta.get("val"), "shape", None)


class _UnsupportedError(Exception):
    """A rule does not cover these arguments."""


def _lookup(argument: Any, facts: dict[str, Any]) -> Any:
    if isinstance(argument, Node):
        return facts[argument.name]
    if isinstance(argument, (list, tuple)):
        return tuple(_lookup(item, facts) for item in argument)
    return argument


def _facts_in(values: list[Any] | tuple[Any, ...]) -> list[Fact]:
    found: list[Fact] = []
    for value in values:
        if isinstance(value, Fact):
            found.append(value)
        elif isinstance(value, tuple):
            found.extend(_facts_in(value))
    return found


def _is_real(value: Any) -> bool:
    """Whether all tensors of a node's result are floating point (those that hold indices of a maximum aside)."""
    if isinstance(value, torch.Tensor):
        sizes = list(value.shape)  # symbols where the shape depends on the data
        return value.dtype.is_floating_point and all(type(size) is int and size > 0 for size in sizes)
    return isinstance(value, (tuple, list)) and len(value) > 0 and _is_real(value[0])


def _blame(graph: Graph, facts: dict[str, Any]) -> str:
    """Name the first operator whose result may fall although none of its arguments may."""
    for node in needed(graph):
        result = _facts_in([facts[node.name]])
        arguments = _facts_in([_lookup(argument, facts) for argument in (*node.args, *node.kwargs.values())])
        falls = any(Change.FALL in fact.change for fact in result)
        if falls and not any(Change.FALL in fact.change for fact in arguments):
            return f"Q_tot may fall through {location(node)}"
    return "Q_tot may fall"


# --- algebra of facts -------------------------------------------------------------------------------------------------


def _fact(value: Any) -> Fact:
    """Read an argument as a fact: a tensor's, or a literal number's."""
    if isinstance(value, Fact):
        return value
    if isinstance(value, (bool, int, float)):
        number = float(value)
        finite = abs(number) < INFINITY
        return Fact(Change.NONE, _sign_of(number), number if finite else -INFINITY, number if finite else INFINITY)
    raise _UnsupportedError(f"argument {value!r} is neither a tensor nor a number")


def _sign_of(number: float) -> Signs:
    if number != number:
        raise _UnsupportedError("a literal is NaN")
    return Signs.POSITIVE if number > 0 else Signs.NEGATIVE if number < 0 else Signs.ZERO


def _signs_of(value: torch.Tensor) -> Signs:
    if not value.dtype.is_floating_point or bool(value.isnan().any()):
        return Signs.ANY
    signs = Signs.NONE
    for present, sign in (((value < 0), Signs.NEGATIVE), ((value == 0), Signs.ZERO), ((value > 0), Signs.POSITIVE)):
        signs |= sign if bool(present.any()) else Signs.NONE
    return signs or Signs.ANY


def _flip(change: Change) -> Change:
    flipped = Change.NONE
    if Change.RISE in change:
        flipped |= Change.FALL
    if Change.FALL in change:
        flipped |= Change.RISE
    return flipped


def _negative(signs: Signs) -> Signs:
    kept = signs & Signs.ZERO
    if Signs.NEGATIVE in signs:
        kept |= Signs.POSITIVE
    if Signs.POSITIVE in signs:
        kept |= Signs.NEGATIVE
    return kept


def _scaled(change: Change, signs: Signs) -> Change:
    """Direction of (delta a) b for a changing as `change` and b of the given signs."""
    result = Change.NONE
    if Signs.POSITIVE in signs:
        result |= change
    if Signs.NEGATIVE in signs:
        result |= _flip(change)
    return result


def _join(*values: Any) -> Fact:
    """The fact that covers elements of all given tensors (concatenation, selection)."""
    facts = [_fact(value) for value in values]
    change, signs = Change.NONE, Signs.NONE
    for fact in facts:
        change, signs = change | fact.change, signs | fact.signs
    return Fact(change, signs, min(fact.bounds[0] for fact in facts), max(fact.bounds[1] for fact in facts))


def _negate(value: Any) -> Fact:
    fact = _fact(value)
    low, high = fact.bounds
    return Fact(_flip(fact.change), _negative(fact.signs), -high, -low)


def _sum_of(first: Any, second: Any) -> Fact:
    a, b = _fact(first), _fact(second)
    signs = a.signs | b.signs
    if Signs.NEGATIVE in signs and Signs.POSITIVE in signs:
        signs = Signs.ANY
    elif a.signs == Signs.POSITIVE or b.signs == Signs.POSITIVE:
        signs = Signs.POSITIVE
    elif a.signs == Signs.NEGATIVE or b.signs == Signs.NEGATIVE:
        signs = Signs.NEGATIVE
    return _bounded(Fact(a.change | b.change, signs), a.bounds[0] + b.bounds[0], a.bounds[1] + b.bounds[1])


def _total(value: Any) -> Fact:
    """A sum over several elements of one tensor."""
    fact = _fact(value)
    mixed = Signs.NEGATIVE in fact.signs and Signs.POSITIVE in fact.signs
    return Fact(fact.change, Signs.ANY if mixed else fact.signs)


def _product(first: Any, second: Any) -> Fact:
    a, b = _fact(first), _fact(second)
    signs = (a.signs | b.signs) & Signs.ZERO
    for left in (Signs.NEGATIVE, Signs.POSITIVE):
        for right in (Signs.NEGATIVE, Signs.POSITIVE):
            if left in a.signs and right in b.signs:
                signs |= Signs.POSITIVE if left == right else Signs.NEGATIVE
    corners = [0.0 if 0 in (x, y) else x * y for x in a.bounds for y in b.bounds]
    return _bounded(Fact(_scaled(a.change, b.signs) | _scaled(b.change, a.signs), signs), min(corners), max(corners))


def _contracted(first: Any, second: Any) -> Fact:
    """A matrix product: sums of products."""
    return _total(_product(first, second))


# --- rules: one per operator ------------------------------------------------------------------------------------------

Rule = Callable[..., Any]


def _same(value: Any, *_: Any, **__: Any) -> Fact:
    """Elements are moved, repeated or copied; indices and sizes may not depend on the utilities."""
    if any(fact.change for fact in _facts_in([*_, *__.values()])):
        raise _UnsupportedError("the elements taken depend on the utilities")
    return _fact(value)


def _cat(tensors: tuple[Any, ...], *_: Any, **__: Any) -> Fact:
    return _join(*tensors)


def _pieces(value: Any, *_: Any, **__: Any) -> Any:
    return _fact(value)


def _add(first: Any, second: Any, alpha: Any = 1) -> Fact:
    return _sum_of(first, _product(second, alpha))


def _sub(first: Any, second: Any, alpha: Any = 1) -> Fact:
    return _sum_of(first, _negate(_product(second, alpha)))


def _rsub(first: Any, second: Any, alpha: Any = 1) -> Fact:
    return _sub(second, first, alpha)


def _mul(first: Any, second: Any) -> Fact:
    return _product(first, second)


def _div(first: Any, second: Any) -> Fact:
    divisor = _fact(second)
    if divisor.change or divisor.signs not in (Signs.POSITIVE, Signs.NEGATIVE):
        raise _UnsupportedError("the divisor is not known to be of one sign and free of the utilities")
    low, high = divisor.bounds
    inverse = Fact(Change.NONE, divisor.signs, 1 / high if high else -INFINITY, 1 / low if low else INFINITY)
    return _product(first, inverse)


def _sum(value: Any, *_: Any, **__: Any) -> Fact:
    return _total(value)


def _extreme(value: Any, *_: Any, **__: Any) -> Any:
    """max, min and order statistics along a dimension: the value keeps direction and signs, the index is anything."""
    fact = _fact(value)
    return (fact, Fact(Change.ANY if fact.change else Change.NONE, Signs.NON_NEGATIVE))


def _linear(value: Any, weight: Any, bias: Any = None) -> Fact:
    product = _contracted(value, weight)
    return product if bias is None else _sum_of(product, bias)


def _addmm(bias: Any, first: Any, second: Any, *, beta: Any = 1, alpha: Any = 1) -> Fact:
    return _sum_of(_product(bias, beta), _product(_contracted(first, second), alpha))


def _einsum(_equation: str, tensors: tuple[Any, ...], **__: Any) -> Fact:
    result = _fact(tensors[0])
    for tensor in tensors[1:]:
        result = _product(result, tensor)
    return _total(result)


def _abs(value: Any) -> Fact:
    fact = _fact(value)
    signs = fact.signs & Signs.ZERO
    if fact.signs & (Signs.NEGATIVE | Signs.POSITIVE):
        signs |= Signs.POSITIVE
    change = Change.NONE
    if Signs.POSITIVE in fact.signs:
        change |= fact.change
    if Signs.NEGATIVE in fact.signs:
        change |= _flip(fact.change)
    return Fact(change, signs)


def _square(value: Any) -> Fact:
    """X x for one and the same x: unlike a product of two tensors of any sign, never negative."""
    return Fact(_product(value, value).change, _abs(value).signs)


def _pow(value: Any, exponent: Any) -> Fact:
    if isinstance(exponent, (int, float)) and exponent == 2:
        return _square(value)
    fact = _fact(value)
    rising = Fact(fact.change, fact.signs)
    if isinstance(exponent, (int, float)) and exponent > 0 and Signs.NEGATIVE not in fact.signs:
        return rising
    if isinstance(exponent, (int, float)) and exponent > 0 and float(exponent).is_integer():
        return _square(value) if exponent % 2 == 0 else rising
    raise _UnsupportedError("the power is not a positive constant, or its base may be negative")


def _sqrt(value: Any) -> Fact:
    fact = _fact(value)
    if Signs.NEGATIVE in fact.signs:
        raise _UnsupportedError("the argument may be negative")
    return Fact(fact.change, fact.signs)


def _log(value: Any) -> Fact:
    return Fact(_sqrt(value).change, Signs.ANY)


def _log1p(value: Any) -> Fact:
    """log(1 + x), covered for x >= 0: rising, and of the sign of x."""
    return Fact(_sqrt(value).change, _fact(value).signs)


def _positive(value: Any) -> Fact:
    """exp: rising and positive."""
    return Fact(_fact(value).change, Signs.POSITIVE, low=0.0)


def _sigmoid(value: Any) -> Fact:
    return Fact(_fact(value).change, Signs.POSITIVE, 0.0, 1.0)


def _tanh(value: Any) -> Fact:
    return _bounded(Fact(_fact(value).change, _fact(value).signs), -1.0, 1.0)


def _softplus(value: Any, beta: Any = 1.0, threshold: Any = 20.0) -> Fact:
    if not (isinstance(beta, (int, float)) and beta >= 0.1):
        raise _UnsupportedError(
            "softplus is covered for beta >= 0.1 only: its step down at the threshold is 2e-9 / beta"
        )
    if not (isinstance(threshold, (int, float)) and threshold >= 20):
        raise _UnsupportedError("softplus with a threshold below 20 has a visible step down at it")
    return _positive(value)


def _keeps_sign(value: Any) -> Fact:
    """SELU, sign, asinh: rising through the origin."""
    return Fact(_fact(value).change, _fact(value).signs)


def _rounded(value: Any) -> Fact:
    """Rounding is non-decreasing and may turn a small value to zero, or, away from zero, change nothing else."""
    fact = _fact(value)
    return Fact(fact.change, fact.signs | Signs.ZERO)


def _floor(value: Any) -> Fact:
    fact = _fact(value)
    signs = fact.signs | (Signs.ZERO if Signs.POSITIVE in fact.signs else Signs.NONE)
    return Fact(fact.change, signs)


def _ceil(value: Any) -> Fact:
    fact = _fact(value)
    signs = fact.signs | (Signs.ZERO if Signs.NEGATIVE in fact.signs else Signs.NONE)
    return Fact(fact.change, signs)


def _elu(value: Any, alpha: Any = 1.0, scale: Any = 1.0, input_scale: Any = 1.0) -> Fact:
    if not all(isinstance(number, (int, float)) and number >= 0 for number in (alpha, scale, input_scale)):
        raise _UnsupportedError("ELU with a negative alpha or scale falls somewhere")
    fact = _fact(value)
    return _bounded(Fact(fact.change, fact.signs | Signs.ZERO), -alpha * scale, INFINITY)


def _celu(value: Any, alpha: Any = 1.0) -> Fact:
    if not (isinstance(alpha, (int, float)) and alpha > 0):
        raise _UnsupportedError("CELU is covered for alpha > 0 only")
    return _bounded(Fact(_fact(value).change, _fact(value).signs), -alpha, INFINITY)


def _prelu(value: Any, slopes: Any) -> Fact:
    slope = _fact(slopes)
    if slope.change or Signs.NEGATIVE in slope.signs:
        raise _UnsupportedError("a slope of PReLU may be negative")
    fact = _fact(value)
    return Fact(fact.change, fact.signs | Signs.ZERO)


def _leaky_relu(value: Any, negative_slope: Any = 0.01) -> Fact:
    if not (isinstance(negative_slope, (int, float)) and negative_slope >= 0):
        raise _UnsupportedError("leaky ReLU with a negative slope falls")
    fact = _fact(value)
    return Fact(fact.change, fact.signs | Signs.ZERO)


def _relu(value: Any) -> Fact:
    return _at_least(value, 0)


def _at_least(value: Any, bound: Any) -> Fact:
    """max(value, bound), elementwise."""
    a, b = _fact(value), _fact(bound)
    signs = Signs.NONE
    for left in (Signs.NEGATIVE, Signs.ZERO, Signs.POSITIVE):
        for right in (Signs.NEGATIVE, Signs.ZERO, Signs.POSITIVE):
            if left in a.signs and right in b.signs:
                signs |= max(left, right, key=lambda sign: sign.value)
    (a_low, a_high), (b_low, b_high) = a.bounds, b.bounds
    return _bounded(Fact(a.change | b.change, signs), max(a_low, b_low), max(a_high, b_high))


def _at_most(value: Any, bound: Any) -> Fact:
    return _negate(_at_least(_negate(value), _negate(bound)))


def _clamp(value: Any, minimum: Any = None, maximum: Any = None, **bounds: Any) -> Fact:
    low, high = bounds.get("min", minimum), bounds.get("max", maximum)
    fact = _fact(value)
    fact = fact if low is None else _at_least(fact, low)
    return fact if high is None else _at_most(fact, high)


def _hardtanh(value: Any, minimum: Any = -1.0, maximum: Any = 1.0) -> Fact:
    return _clamp(value, minimum, maximum)


def _softmax(value: Any, *_: Any, **__: Any) -> Fact:
    if _fact(value).change:
        raise _UnsupportedError("softmax over the utilities is not monotone")
    return Fact(Change.NONE, Signs.POSITIVE, 0.0, 1.0)


def _where(condition: Any, first: Any, second: Any) -> Fact:
    if _fact(condition).change:
        raise _UnsupportedError("the branch taken depends on the utilities")
    return _join(first, second)


def _masked_fill(value: Any, mask: Any, filling: Any) -> Fact:
    return _where(mask, filling, value)


def _scatter(value: Any, source: Any, *_: Any, **__: Any) -> Fact:
    return _join(value, source)


def _padded(value: Any, _padding: Any, filling: Any = 0.0) -> Fact:
    return _join(value, filling)


def _filled(*args: Any, **_: Any) -> Fact:
    return Fact(Change.NONE, _fact(args[1]).signs)


def _copied(_target: Any, source: Any, *_: Any, **__: Any) -> Fact:
    return _fact(source)


def _batch_norm(
    value: Any, weight: Any, bias: Any, _mean: Any, _variance: Any, training: Any, *_: Any, **__: Any
) -> Fact:
    if training:
        raise _UnsupportedError("batch statistics make a row depend on the others: hand the module over in eval mode")
    if any(fact.change for fact in _facts_in([_mean, _variance])):
        raise _UnsupportedError("the statistics depend on the utilities")
    fact = Fact(_fact(value).change, Signs.ANY)
    scaled = fact if weight is None else _product(fact, weight)
    return scaled if bias is None else _sum_of(scaled, bias)


def _dropout(value: Any, probability: Any = 0.5, training: Any = True) -> Fact:
    if training and probability != 0:
        raise _UnsupportedError("dropout is active: hand the module over in eval mode")
    return _fact(value)


def _native_dropout(value: Any, probability: Any, training: Any) -> Any:
    return (_dropout(value, probability, training is not False), ANY_CONSTANT)


MOVES = (
    "view.default reshape.default _unsafe_view.default expand.default expand_as.default permute.default t.default "
    "transpose.int squeeze.default squeeze.dim squeeze.dims unsqueeze.default select.int slice.Tensor narrow.default "
    "index_select.default index.Tensor gather.default take_along_dim.default clone.default contiguous.default "
    "alias.default detach.default detach_.default lift_fresh_copy.default _to_copy.default to.dtype to.device "
    "to.dtype_layout flip.default "
    "roll.default repeat.default tile.default flatten.using_ints unflatten.int movedim.int swapaxes.default "
    "diagonal.default mT.default numpy_T.default view_as.default type_as.default repeat_interleave.self_int "
    "broadcast_to.default positive.default squeeze.multidim"
)
KEEP_SIGN = "selu.default sign.default asinh.default atan.default sinh.default erf.default expm1.default"
PIECES = "split.Tensor split_with_sizes.default chunk.default unbind.int split.sizes"
SUMS = "sum.default sum.dim_IntList mean.default mean.dim cumsum.default"
EXTREMES = (
    "max.dim min.dim sort.default sort.stable topk.default cummax.default cummin.default kthvalue.default median.dim"
)

RULES: dict[str, Rule] = {
    **{f"aten.{name}": _same for name in MOVES.split()},
    **{f"aten.{name}": _pieces for name in PIECES.split()},
    **{f"aten.{name}": _sum for name in SUMS.split()},
    **{f"aten.{name}": _extreme for name in EXTREMES.split()},
    **{
        f"aten.{name}": lambda value, *_, **__: _fact(value)
        for name in ["amax.default", "amin.default", "max.default", "min.default"]
    },
    **{
        f"aten.{name}": _contracted
        for name in ["mm.default", "bmm.default", "matmul.default", "mv.default", "dot.default", "inner.default"]
    },
    **{f"aten.{name}": _addmm for name in ["addmm.default", "baddbmm.default", "addmv.default"]},
    **{f"aten.{name}": _cat for name in ["cat.default", "stack.default", "concat.default", "hstack.default"]},
    **{f"aten.{name}": _softmax for name in ["softmax.int", "_softmax.default"]},
    **{f"aten.{name}": _scatter for name in ["select_scatter.default", "slice_scatter.default"]},
    **{f"aten.{name}": _keeps_sign for name in KEEP_SIGN.split()},
    **{f"aten.{name}": _positive for name in ["exp.default", "exp2.default"]},
    "aten.tanh.default": _tanh,
    "aten.sigmoid.default": _sigmoid,
    "aten.linear.default": _linear,
    "aten.einsum.default": _einsum,
    "aten.add.Tensor": _add,
    "aten.add.Scalar": _add,
    "aten.sub.Tensor": _sub,
    "aten.sub.Scalar": _sub,
    "aten.rsub.Scalar": _rsub,
    "aten.rsub.Tensor": _rsub,
    "aten.mul.Tensor": _mul,
    "aten.mul.Scalar": _mul,
    "aten.multiply.Tensor": _mul,
    "aten.div.Tensor": _div,
    "aten.div.Scalar": _div,
    "aten.neg.default": _negate,
    "aten.abs.default": _abs,
    "aten.square.default": _square,
    "aten.pow.Tensor_Scalar": _pow,
    "aten.sqrt.default": _sqrt,
    "aten.log.default": _log,
    "aten.log1p.default": _log1p,
    "aten.outer.default": _product,
    "aten.prelu.default": _prelu,
    "aten.new_zeros.default": lambda *_, **__: Fact(Change.NONE, Signs.ZERO),
    "aten.new_ones.default": lambda *_, **__: Fact(Change.NONE, Signs.POSITIVE),
    "aten.softplus.default": _softplus,
    "aten.elu.default": _elu,
    "aten.celu.default": _celu,
    "aten.leaky_relu.default": _leaky_relu,
    "aten.relu.default": _relu,
    "aten.clamp.default": _clamp,
    "aten.clamp.Tensor": _clamp,
    "aten.clamp_min.default": _at_least,
    "aten.clamp_min.Tensor": _at_least,
    "aten.clamp_max.default": _at_most,
    "aten.clamp_max.Tensor": _at_most,
    "aten.hardtanh.default": _hardtanh,
    "aten.relu6.default": lambda value: _clamp(value, 0, 6),
    "aten.maximum.default": _at_least,
    "aten.minimum.default": _at_most,
    "aten.max.other": _at_least,
    "aten.min.other": _at_most,
    "aten.logsumexp.default": lambda value, *_, **__: Fact(_fact(value).change, Signs.ANY),
    "aten.log_sigmoid.default": lambda value: Fact(_fact(value).change, Signs.NEGATIVE),
    "aten.round.default": _rounded,
    "aten.trunc.default": _rounded,
    "aten.floor.default": _floor,
    "aten.ceil.default": _ceil,
    "aten.where.self": _where,
    "aten.where.ScalarSelf": _where,
    "aten.where.ScalarOther": _where,
    "aten.where.Scalar": _where,
    "aten.masked_fill.Scalar": _masked_fill,
    "aten.masked_fill.Tensor": _masked_fill,
    "aten.constant_pad_nd.default": _padded,
    "aten.full.default": _filled,
    "aten.full_like.default": _filled,
    "aten.zeros.default": lambda *_, **__: Fact(Change.NONE, Signs.ZERO),
    "aten.zeros_like.default": lambda *_, **__: Fact(Change.NONE, Signs.ZERO),
    "aten.ones.default": lambda *_, **__: Fact(Change.NONE, Signs.POSITIVE),
    "aten.ones_like.default": lambda *_, **__: Fact(Change.NONE, Signs.POSITIVE),
    "aten.copy.default": _copied,
    "aten.batch_norm.default": _batch_norm,
    "aten.dropout.default": _dropout,
    "aten.native_dropout.default": _native_dropout,
}
