"""Mutate every marked line of every algorithm file and see whether the file's tests notice.

    python tests/mutate_lines.py [NAME ..] [--jobs N]

For each statement that carries a marker, single edits are made in the source: operators swapped, signs flipped,
constants shifted, comparisons turned, a target network replaced by the online one, methods and arguments exchanged,
statements deleted. Each edit runs tests/reference/**/test_NAME.py, and then what tests/reference/test_promises.py asks
of every deep algorithm, in a forked child whose module has the changed source. The edits that change nothing that a
test could see are listed below with the reason. Exit code 1 if any other edit survives.
"""

import argparse
import ast
import copy
import importlib
import os
import sys
import time
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent
PROMISES = TESTS / "reference" / "test_promises.py"
LIMIT = 120.0

SQUARED = "the loss squares the difference"
EQUAL_REWARDS = "the agents' rewards are equal"
ABSOLUTE = "the absolute value follows"
ZERO = "minus zero is zero"
ALIKE = "both hold one entry for each agent"
EITHER_WAY = "the two axes change places, whichever is named first"
TOGETHER = "each time step makes one update"
ONE_TUPLE = "all are of one NamedTuple, so of one length"
PRODUCT = "the two are multiplied, entry by entry"
SUM_OF_TWO = "the loss adds the two critics' squares"
EQUIVALENT = {
    ("losses = loss(y, self.value(batch))  # 16", "(loss(self.value(batch), y))"): SQUARED,
    ("losses = loss(y, self.value(batch))  # 18-20", "(loss(self.value(batch), y))"): SQUARED,
    ("return MixingParameters(  # 16, 18", "(-self.h1(z))"): ABSOLUTE,
    ("return MixingParameters(  # 16, 18", "(-self.h2(z))"): ABSOLUTE,
    ("transition = Transition(  # 10 (E6)", "1"): EQUAL_REWARDS,
    ("transition = Transition(  # 11 (E6)", "1"): EQUAL_REWARDS,
    (
        "self.q = np.zeros((game.n_states, *game.n_actions))  # 1",
        "(-np.zeros((game.n_states, *game.n_actions)))",
    ): ZERO,
    (
        "self.q = [np.zeros((game.n_states, count)) for count in game.n_actions]  # 1",
        "(-np.zeros((game.n_states, count)))",
    ): ZERO,
    ("for q, choice in zip(self.q, draw.choices, strict=True):  # 5-7", "(zip(self.q, draw.choices))"): ALIKE,
    ("for q, choice in zip(self.q, draw.choices, strict=True):  # 5-7", "False"): ALIKE,
    ("losses = loss(y, self.value(batch)).sum(-1)  # 17", "(loss(self.value(batch), y))"): SQUARED,
    ("critic_losses = critic_loss(y, values)  # 16", "(critic_loss(values, y))"): SQUARED,
    ("critic_losses = critic_loss(y, values)  # 17", "(critic_loss(values, y))"): SQUARED,
    (
        "squares = torch.where(running.unsqueeze(-1), y - values, 0.0).square().mean(-1)  # 13",
        "(-torch.where(running.unsqueeze(-1), y - values, 0.0))",
    ): SQUARED,
    (
        "losses = critic_loss(y, chosen(self.theta.values(inputs), action), running)  # 13",
        "(critic_loss(chosen(self.theta.values(inputs), action), y, running))",
    ): SQUARED,
    ("time_step = Episodes(  # 10", "1"): EQUAL_REWARDS,
    ("transition = Episodes(  # 13 (E18)", "1"): EQUAL_REWARDS,
    (
        "squares = torch.where(filled, y - value, 0.0).square()  # 17 (E18)",
        "(-torch.where(filled, y - value, 0.0))",
    ): SQUARED,
    (
        "losses = loss(y.view_as(batch.reward), self.value(batch), batch.filled)  # 19",
        "(loss(self.value(batch), y.view_as(batch.reward), batch.filled))",
    ): SQUARED,
    (
        "self.replay.store(Episodes(*(torch.stack(field, 2) for field in zip(*episode, strict=True))))  # 15",
        "(zip(*episode))",
    ): ONE_TUPLE,
    (
        "self.replay.store(Episodes(*(torch.stack(field, 2) for field in zip(*episode, strict=True))))  # 15",
        "False",
    ): ONE_TUPLE,
    (
        "return Transition(*(field.transpose(1, 2).flatten(0, 1) for field in transition))  # 10-11",
        "(field.transpose(2, 1))",
    ): EITHER_WAY,
    (
        "return Transition(*(field.unflatten(0, (-1, n)).transpose(1, 2) for field in batches))  # 10, 12",
        "(field.unflatten(0, (-1, n)).transpose(2, 1))",
    ): EITHER_WAY,
    (
        "action = epsilon_greedy(self.theta(history), available, self.epsilon(self.t))  # 6-8",
        "(self.updates)",
    ): TOGETHER,
    (
        "self.learn(Episodes(*(torch.stack(field, 2) for field in zip(*steps, strict=True))))  # 8",
        "(zip(*steps))",
    ): ONE_TUPLE,
    ("self.learn(Episodes(*(torch.stack(field, 2) for field in zip(*steps, strict=True))))  # 8", "False"): ONE_TUPLE,
    (
        "self.learn(Rollout(*(torch.stack(field, 1) for field in zip(*time_steps, strict=True))))  # 4",
        "(zip(*time_steps))",
    ): ONE_TUPLE,
    (
        "self.learn(Rollout(*(torch.stack(field, 1) for field in zip(*time_steps, strict=True))))  # 4",
        "False",
    ): ONE_TUPLE,
    (
        "critic_losses = critic_loss(y, chosen(q, taken), values)  # 6",
        "(critic_loss(y, values, chosen(q, taken)))",
    ): SUM_OF_TWO,
    (
        "actor_losses = actor_loss("
        "advantages, log_taken, entropy(log_pi), self.entropy_coefficient(self.updates))  # 9",
        "(actor_loss(advantages, log_taken, self.entropy_coefficient(self.updates), entropy(log_pi)))",
    ): PRODUCT,
    (
        "losses = loss(G, self.log_probability(batch), batch.running).sum(-1)  # 9 (D1)",
        "(loss(self.log_probability(batch), G, batch.running))",
    ): PRODUCT,
}

OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.Mod: ast.FloorDiv}
COMPARISONS = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
NAMES = {
    "amax": ["amin", "mean"],
    "sum": ["mean", "amax"],
    "mean": ["sum", "amax"],
    "abs": ["relu", "square"],
    "square": ["abs"],
    "elu": ["relu", "leaky_relu"],
    "relu": ["tanh"],
    "theta": ["theta_bar"],
    "theta_bar": ["theta"],
    "theta_hyper": ["theta_bar_hyper"],
    "theta_bar_hyper": ["theta_hyper"],
    "history": ["next_history"],
    "next_history": ["history"],
    "z": ["next_z"],
    "next_z": ["z"],
    "w1": ["w2"],
    "w2": ["b1"],
    "b1": ["w2"],
    "terminated": ["reward"],
    "seeds": ["copies"],
    "capacity": ["batch_size"],
    "batch_size": ["capacity"],
    "hidden": ["_hidden"],
    "t": ["updates"],
    "target_interval": ["batch_size"],
    "h1": ["h2"],
    "h2": ["b1"],
    "max": ["min", "mean"],
    "s": ["next_s"],
    "next_s": ["s"],
    "r": ["alpha"],
    "rewards": ["r"],
    "alpha": ["gamma", "epsilon"],
    "gamma": ["alpha"],
    "epsilon": ["alpha"],
    "following": ["r"],
    "n_states": ["n_agents"],
    "n_actions": ["n_states"],
    "random_action": ["greedy_action"],
    "greedy_action": ["random_action"],
    "start": ["outcome"],
    "outcome": ["start"],
    "coin": ["action", "tie"],
    "action": ["coin", "tie"],
    "tie": ["coin", "action"],
    "phi": ["theta"],
    "values": ["next_values"],
    "next_values": ["values"],
    "advantages": ["y"],
    "learning_rate": ["critic_learning_rate"],
    "critic_learning_rate": ["learning_rate"],
    "actor_optimiser": ["critic_optimiser"],
    "critic_optimiser": ["actor_optimiser"],
}


@dataclass(frozen=True)
class Mutation:
    """One edit: the row of the marked statement, what it was and what it becomes, and the whole changed source."""

    row: int
    was: str
    becomes: str
    source: str


def mutations(source: str, rows: list[int]) -> Iterator[Mutation]:
    """Yield all single edits of the statements that begin in, or hold, one of the rows."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    seen: set[str] = set()
    for node in list(ast.walk(tree)):
        if not hasattr(node, "lineno") or _marked_row(node, parents, rows) is None:
            continue
        row = _marked_row(node, parents, rows)
        for replacement in _edits(node, parents):
            changed = _spliced(source, node, replacement)
            if changed not in seen and changed != source and _compiles(changed):
                seen.add(changed)
                yield Mutation(row, ast.get_source_segment(source, node) or "", replacement, changed)


def _marked_row(node: ast.AST, parents: dict[ast.AST, ast.AST], rows: list[int]) -> int | None:
    """The marked row to which a node belongs: that of its statement, of which a header counts without its body."""
    statement = node
    while not isinstance(statement, ast.stmt):
        if isinstance(statement, ast.arguments) or statement not in parents:
            return None
        statement = parents[statement]
    if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.Module):
        return None
    last = statement.body[0].lineno - 1 if hasattr(statement, "body") else statement.end_lineno
    return next((row for row in rows if statement.lineno <= row <= last), None)


def _edits(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[str]:
    """The texts that may take the place of a node."""
    if isinstance(node, ast.stmt):
        yield from _statement_edits(node)
    if not isinstance(node, ast.expr) or _is_annotation(node, parents):
        return
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield _with(node, op=OPERATORS[type(node.op)]())
        yield _parenthesised(node.left)
        yield _parenthesised(node.right)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield _with(node, ops=[COMPARISONS[type(node.ops[0])]()])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not):
        yield _parenthesised(node.operand)
    if isinstance(node, ast.Constant):
        yield from _constant_edits(node)
    if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield from _name_edits(node)
    if isinstance(node, ast.Call):
        yield from _call_edits(node)


def _statement_edits(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.If):
        return
    if isinstance(node, ast.Return) and node.value is not None:
        yield f"return -({ast.unparse(node.value)})"
    else:
        yield "pass"


def _constant_edits(node: ast.Constant) -> Iterator[str]:
    if isinstance(node.value, bool):
        yield str(not node.value)
    elif isinstance(node.value, int | float):
        yield str(node.value + 1)


def _name_edits(node: ast.Name | ast.Attribute) -> Iterator[str]:
    name = node.id if isinstance(node, ast.Name) else node.attr
    for other in NAMES.get(name, []):
        yield other if isinstance(node, ast.Name) else _with(node, attr=other)


def _call_edits(node: ast.Call) -> Iterator[str]:
    for k in range(len(node.args) - 1):
        swapped = [*node.args[:k], node.args[k + 1], node.args[k], *node.args[k + 2 :]]
        yield _with(node, args=swapped)
    yield f"(-{ast.unparse(node)})"
    for keyword in node.keywords:
        yield _with(node, keywords=[other for other in node.keywords if other is not keyword])
    if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Name):
        yield _parenthesised(node.func.value)  # the method left out, as in x.abs()
    if len(node.args) == 1 and not isinstance(node.args[0], ast.Starred | ast.Constant):
        yield _parenthesised(node.args[0])  # the function left out, as in relu(x)


def _is_annotation(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    while not isinstance(node, ast.stmt):
        parent = parents[node]
        if isinstance(parent, ast.AnnAssign) and parent.annotation is node:
            return True
        node = parent
    return False


def _with(node: ast.AST, **changes: object) -> str:
    changed = copy.copy(node)
    for name, value in changes.items():
        setattr(changed, name, value)
    return f"({ast.unparse(changed)})"


def _parenthesised(node: ast.AST) -> str:
    return f"({ast.unparse(node)})"


def _spliced(source: str, node: ast.AST, replacement: str) -> str:
    """Return the source with a node's text replaced; columns count bytes."""
    lines = source.encode().splitlines(keepends=True)
    before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
    return (before + replacement.encode() + after).decode()


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutation", "exec")
    except SyntaxError:
        return False
    return True


def is_killed(module_name: str, source: str, test: Path) -> bool:
    """Run a test file in a forked child with the module's source replaced; killed where a test fails.

    A child that runs out of time has shown nothing and so does not count as killed.
    """
    child = os.fork()
    if child == 0:
        _be_the_child(module_name, source, test)
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) not in (0, -9)
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def _be_the_child(module_name: str, source: str, test: Path) -> None:
    code = 1
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        module = types.ModuleType(module_name)
        sys.modules[module_name] = module
        parent, _, name = module_name.rpartition(".")
        setattr(sys.modules[parent], name, module)
        exec(compile(source, f"{name}.py", "exec"), module.__dict__)
        code = run_tests(test) or run_tests(PROMISES, f"{name}]")
    finally:
        os._exit(code)


def run_tests(test: Path, wanted: str = "") -> int:
    """Run one test file in this process, as plainly as possible, or those of its tests whose names hold the wanted.

    Returns 0 where none fails, as where none is wanted.
    """
    import pytest

    plain = ["-c", os.devnull, "--rootdir", str(TESTS.parent), "--import-mode=importlib", "-p", "no:marlspec"]
    quiet = ["-p", "no:cacheprovider", "-p", "no:xdist", "-x", "-q", "-k", wanted]
    code = pytest.main([*plain, *quiet, str(test)])
    return 0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else int(code)


def judge(name: str, jobs: int) -> int:
    """Mutate one algorithm, print the verdicts line by line, and return the number of unexplained survivors."""
    from marlspec.reference.listing import ROOT, algorithm_files, load

    algorithm = load(name)
    path = algorithm_files()[name].relative_to(ROOT).with_suffix("")
    module_name = ".".join(["marlspec.reference", *path.parts])
    test = TESTS / "reference" / path.parent / f"test_{name}.py"
    importlib.import_module(module_name)
    if is_killed(module_name, algorithm.code, test):
        print(f"{name}: {test} fails on the unchanged source, or there is none: nothing can be said")
        return 1
    found = list(mutations(algorithm.code, [marker.row for marker in algorithm.markers]))
    with ThreadPoolExecutor(jobs) as pool:
        verdicts = list(pool.map(lambda mutation: is_killed(module_name, mutation.source, test), found))
    return _print_verdicts(name, algorithm.code.splitlines(), found, verdicts)


def _print_verdicts(name: str, lines: list[str], found: list[Mutation], verdicts: list[bool]) -> int:
    killed = equivalent = survived = 0
    row = 0
    for mutation, dead in sorted(zip(found, verdicts, strict=True), key=lambda pair: pair[0].row):
        if mutation.row != row:
            row = mutation.row
            print(f"\n{name}.py:{row}: {lines[row - 1].strip()}")
        reason = EQUIVALENT.get((lines[row - 1].strip(), mutation.becomes))
        killed += dead
        equivalent += not dead and reason is not None
        survived += not dead and reason is None
        verdict = "killed" if dead else f"equivalent ({reason})" if reason else "SURVIVED"
        print(f"    {verdict:<9} {' '.join(mutation.was.split())}  ->  {mutation.becomes}")
    print(f"\n{name}: {len(found)} mutations, {killed} killed, {equivalent} equivalent, {survived} survived")
    return survived


def main() -> int:
    """Judge the named algorithms, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="algorithms; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()

    import numpy  # noqa: F401
    import pytest  # noqa: F401
    import torch
    import torch._dynamo  # the optimisers load it, which would take most of each child's time

    torch.set_num_threads(1)
    from marlspec.reference.listing import algorithm_files

    survivors = [judge(name, options.jobs) for name in options.names or algorithm_files()]
    return int(sum(survivors) > 0)


if __name__ == "__main__":
    sys.exit(main())
