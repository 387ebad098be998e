"""A target as a graph of torch operators: what the structural and the interval proofs read.

`trace` exports the target for one shape of input. The export runs the target's own Python once on symbolic tensors, so
that the graph shows the control path of that shape and of that mode alone; whatever resists the export raises
`Unknown`.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import getitem
from typing import Any

import torch
from torch._ops import OpOverload
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

INFINITY = float("inf")


class Unknown(Exception):
    """A prover could not decide; the message says at which operator and why. Never a verdict by itself."""


@dataclass(frozen=True)
class Graph:
    """Operators in order of execution, with the role of each input.

    Attributes:
        nodes: every node but inputs and output, in order.
        inputs: the names of the user's inputs, in order.
        constants: parameters, buffers and closure tensors by node name.
        output: the node that holds the result.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    constants: dict[str, torch.Tensor]
    output: Node


class _Module(torch.nn.Module):
    """Gives a plain function the form that torch.export asks for."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.function(*inputs)


def trace(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> Graph:
    """Export `function` at the shapes of `inputs`.

    Raises:
        Unknown: the function cannot be exported, keeps state in buffers, or writes into its inputs.
    """
    module = _Module(function)
    module.training = _in_training(function)  # not train(), which would reach into the target's own parts
    try:
        with _quiet():
            program = torch.export.export(module, inputs)
            if not _is_plain(program):
                program = program.run_decompositions({})
    except Exception as error:
        raise Unknown(f"torch.export could not trace the target: {_first_line(error)}") from error
    for spec in program.graph_signature.output_specs:
        if spec.kind is not OutputKind.USER_OUTPUT:
            raise Unknown("the target writes into its inputs or its buffers")
    names: list[str] = []
    constants: dict[str, torch.Tensor] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            names.append(spec.arg.name)
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR) and spec.target:
            constants[spec.arg.name] = _tensor(program, spec.target)
        else:
            raise Unknown(f"the traced program has an input of kind {spec.kind.name}")
    output = program.graph.output_node().args[0]
    if not isinstance(output, (tuple, list)) or len(output) != 1 or not isinstance(output[0], Node):
        raise Unknown("the target does not return one tensor")
    nodes = tuple(node for node in program.graph.nodes if node.op not in ("placeholder", "output"))
    return Graph(nodes, tuple(names), constants, output[0])


def needed(graph: Graph) -> list[Node]:
    """Return the nodes that the output depends on, in order: what else the target computes does not matter."""
    wanted = {graph.output.name}
    for node in reversed(graph.nodes):
        if node.name in wanted:
            wanted.update(argument.name for argument in node.all_input_nodes)
    return [node for node in graph.nodes if node.name in wanted]


def scalars(graph: Graph) -> list[float]:
    """Return the numbers that stand in the graph as literals: thresholds that a search should look around."""
    found: set[float] = set()
    for node in graph.nodes:
        for argument in (*node.args, *node.kwargs.values()):
            if isinstance(argument, (int, float)) and not isinstance(argument, bool) and abs(argument) < 1e6:
                found.add(float(argument))
    return sorted(found)


def location(node: Node) -> str:
    """Return where in the target's own code the node comes from, as well as it is known."""
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines() if line.strip()]
    code = lines[-1] if lines else ""
    known = code and code != "return self.function(*inputs)"
    return f"{node.target}" + (f" in `{code}`" if known else "")


def _is_plain(program: torch.export.ExportedProgram) -> bool:
    """Whether the graph holds functional operators only; in-place writes and nested graphs are first rewritten."""
    targets = [node.target for node in program.graph.nodes if node.op == "call_function" and node.target is not getitem]
    return all(isinstance(target, OpOverload) and not target._schema.is_mutable for target in targets)


def _tensor(program: torch.export.ExportedProgram, target: str) -> torch.Tensor:
    value: Any = program.state_dict.get(target)
    if value is None:
        value = program.constants.get(target)
    if not isinstance(value, torch.Tensor):
        raise Unknown(f"the traced program holds no tensor named {target}")
    return value.detach()


def _in_training(function: Callable[..., torch.Tensor]) -> bool:
    return isinstance(function, torch.nn.Module) and function.training


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings and logs off the user's terminal: what matters of them is raised."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
