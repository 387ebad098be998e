"""Claims about target networks: an online and a target network go through operations, beside a model of both.

A case holds a seed and operations: ["write", k] writes numbers over the online network (of the k-th seed), ["learn", k]
lets the target train for k steps, ["sync", 0] and ["soft", tau] update the target network, ["loss", 0] goes backward
through the loss, ["reload", k] saves, spoils everything, and loads. Numbers are short dyadic ones, so that syncs are
compared without tolerance, and a wrong share of a soft update is far from rounding.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from marlspec.properties.cases import Case, counterexample, search
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.play import Stream
from marlspec.properties.tensors import Snapshot, first_difference, largest, leaves, overwrite, parameters, snapshot
from marlspec.properties.trial import TargetError, Trial, errors_of_target

Recheck = Callable[[Trial, Mapping[str, int], Case], Counterexample | None]
Rule = Callable[["Pair", Any], str | None]

BOOK = "Albrecht et al. 2024, Algorithm 17 (target networks); Mnih et al. 2015"
SOFT = "Lillicrap et al. 2016 (arXiv 1509.02971), Algorithm 1: theta' <- tau theta + (1 - tau) theta'"
TAUS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
LONGEST = 6
LARGEST = 1e4  # half precision goes further
FAR = 256.0  # times as large as other numbers are some that the online network holds
ROUNDINGS = 4  # of two products and a sum, in units of the type's precision; one wrong share is off by 2^-10 or more


@dataclass
class Pair:
    """What the factory returned, with its two networks."""

    made: Any
    trial: Trial

    def networks(self) -> tuple[Snapshot, Snapshot]:
        """Return copies of the online and the target network, by name.

        Raises:
            TargetError: they do not hold the same tensors.
        """
        online, target = (snapshot(getattr(self.made, name), name) for name in ("online", "target"))
        shapes = [{name: values.shape for name, values in network.items()} for network in (online, target)]
        if shapes[0] != shapes[1]:
            differing = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))
            raise TargetError(f"online and target must hold the same tensors by name and shape; not so {differing[0]}")
        return online, target

    def offers(self, name: str) -> bool:
        """Whether a method is there."""
        return callable(getattr(self.made, name, None))

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method."""
        with torch.enable_grad(), errors_of_target(f"as {name}({', '.join(map(str, arguments))})"):
            return getattr(self.made, name)(*arguments)

    def write(self, seed: int, buffers: bool = True) -> None:
        """Write other numbers over the online network, for one seed of eight large ones."""
        overwrite(self.made.online, "online", seed, buffers, FAR if seed % 8 == 7 else 1.0)


def _made(trial: Trial) -> Pair:
    with errors_of_target("as factory()"):
        made = trial.target.factory(**trial.target.settings)
    missing = [name for name in ("online", "target") if not hasattr(made, name)]
    if missing or not any(callable(getattr(made, name, None)) for name in ("sync", "soft_update")):
        raise TargetError(
            f"the factory returned a {type(made).__name__} without {missing[0] if missing else 'sync or soft_update'}: "
            "give online, target, and sync() or soft_update(tau)"
        )
    return Pair(made, trial)


# --- one operation each: what is wrong after it, or None --------------------------------------------------------------


def _write(pair: Pair, k: Any) -> str | None:
    before = pair.networks()[1]
    pair.write(k)
    found = first_difference(pair.networks()[1], before)
    return None if found is None else f"the target network moves with the online network: {found}"


def _learn(pair: Pair, k: Any) -> str | None:
    before = pair.networks()[1]
    for _ in range(k):
        pair.call("learn")
    found = first_difference(pair.networks()[1], before)
    return None if found is None else f"training moves the target network: {found}"


def _sync(pair: Pair, k: Any) -> str | None:
    online, _ = pair.networks()
    pair.call("sync")
    after, target = pair.networks()
    moved = first_difference(after, online)
    if moved is not None:
        return f"the online network moves: {moved}"
    found = first_difference(target, online)
    return None if found is None else f"of the target network, {found}"


def _soft(pair: Pair, tau: Any) -> str | None:
    """The share tau of the way, for all parameters; buffers are left to each implementation.

    Where training has run away, sums of shares may overflow in one order and not in another: nothing is asked there.
    """
    online, target = pair.networks()
    if not largest(online, target) < LARGEST:
        return None
    buffers = {name for name, leaf in leaves(pair.made.target, "target").items() if leaf.buffer}
    pair.call("soft_update", tau)
    after, moved = pair.networks()
    found = first_difference(after, online)
    if found is not None:
        return f"the online network moves: {found}"
    wanted = {name: (1 - tau) * target[name] + tau * online[name] for name in target if name not in buffers}
    precision = max(leaf.precision for leaf in leaves(pair.made.target, "target").values())
    tolerance = ROUNDINGS * precision * largest(online, target)
    found = first_difference({name: moved[name] for name in wanted}, wanted, tolerance)
    return None if found is None else f"of the target network, {found}"


def _loss(pair: Pair, k: Any) -> str | None:
    online, target = (parameters(getattr(pair.made, name), name) for name in ("online", "target"))
    for tensor in (*online.values(), *target.values()):
        tensor.grad = None
    loss = pair.call("loss")
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        raise TargetError("loss() must return a tensor of one number")
    if not loss.requires_grad:
        return "no gradient leads from the loss to any network"
    with errors_of_target("as loss().backward()"):
        loss.backward()  # type: ignore[no-untyped-call]
    for name, tensor in target.items():
        if tensor.grad is not None and bool(tensor.grad.any()):
            return f"the loss sends a gradient to {name} of the target network"
    if all(tensor.grad is None for tensor in online.values()):
        return "the loss sends no gradient to the online network"
    return None


def _reload(pair: Pair, k: Any) -> str | None:
    """Save, spoil both networks, and load, into the same object and into a fresh one; these then follow as before."""
    saved = pair.networks()
    state = io.BytesIO()
    saved_state = pair.call("state_dict")
    with errors_of_target("as torch.save(state_dict())"):
        torch.save(saved_state, state)
    other = _made(pair.trial)
    for who, receiver in (("a fresh one", other), ("the one it was saved from", pair)):
        receiver.write(k + 1)
        _spoil(receiver, k)
        state.seek(0)
        receiver.call("load_state_dict", torch.load(state, weights_only=False))  # written above, by the target itself
        for name, now, before in zip(("online", "target"), receiver.networks(), saved, strict=True):
            found = first_difference(now, before)
            if found is not None:
                return f"after loading into {who}, of the {name} network {found}"
        receiver.write(k + 3)
        found = _sync(receiver, 0) if pair.offers("sync") else _soft(receiver, _share(pair))
        if found is not None:
            return f"after loading into {who}, at its next update {found}"
    return None


def _share(pair: Pair) -> float:
    """A share that the target's soft updates take."""
    return float(getattr(pair.made, "taus", getattr(pair.trial.target.factory, "taus", TAUS))[-1])


def _spoil(pair: Pair, k: int) -> None:
    """Bring other numbers into the target network, by its own means, and again others into the online network."""
    if pair.offers("sync"):
        pair.call("sync")
    else:
        pair.call("soft_update", _share(pair))
    pair.write(k + 2)


RULES: dict[str, Rule] = {
    "write": _write, "learn": _learn, "sync": _sync, "soft": _soft, "loss": _loss, "reload": _reload,
}  # fmt: skip
METHODS = {"learn": "learn", "sync": "sync", "soft": "soft_update", "loss": "loss", "reload": "state_dict"}


# --- cases ------------------------------------------------------------------------------------------------------------


def _wrong(trial: Trial, case: Case, judged: tuple[str, ...], required: str) -> Counterexample | None:
    """Carry the operations out; what goes wrong in an operation of another claim is that claim's business."""
    with Stream(case["seed"]).active():
        pair = _made(trial)
        for k, (name, number) in enumerate(case["operations"], start=1):
            found = RULES[name](pair, number)
            if found is not None and name in judged:
                return counterexample(case, f"operation {k}: {found}", required)
    return None


def _limits(trial: Trial) -> tuple[list[str], tuple[float, ...]]:
    """The operations that the target offers, and the shares of its soft updates."""
    with Stream(0).active():
        pair = _made(trial)
    offered = ["write", *(name for name, method in METHODS.items() if pair.offers(method))]
    taus = tuple(getattr(pair.made, "taus", getattr(trial.target.factory, "taus", TAUS)))
    return offered, taus


def _operation(generator: np.random.Generator, name: str, taus: tuple[float, ...]) -> list[Any]:
    if name == "soft":
        return [name, float(generator.choice(taus))]
    return [name, int(generator.integers(1, 4)) if name == "learn" else int(generator.integers(100))]


def _smaller(case: Case) -> Iterator[Case]:
    operations = case["operations"]
    for k, (name, number) in enumerate(operations):
        if len(operations) > 1:
            yield {**case, "operations": operations[:k] + operations[k + 1 :]}
        if name != "soft" and number > (name == "learn"):
            yield {**case, "operations": [*operations[:k], [name, int(name == "learn")], *operations[k + 1 :]]}
    if case["seed"]:
        yield {**case, "seed": 0}


def _searched(trial: Trial, judged: tuple[str, ...], required: str, key: str) -> Finding:
    """Draw operations of which the last is one that the claim is about."""
    offered, taus = _limits(trial)
    own = [name for name in judged if name in offered]
    if not own:
        return Finding(not_applicable=f"The target has no {METHODS[judged[0]]}().")
    between = [name for name in offered if name != "reload"]

    def draw(generator: np.random.Generator, k: int) -> Case:
        names = [str(generator.choice(between)) for _ in range(int(generator.integers(1, LONGEST)))]
        names = [*names, "write", str(generator.choice(own))]
        return {"seed": k % 100, "operations": [_operation(generator, name, taus) for name in names]}

    test: Callable[[Case], Counterexample | None] = lambda case: _wrong(trial, case, judged, required)  # noqa: E731
    return search(trial, draw, test, method="operations beside a model of both networks", smaller=_smaller, key=key)


def _recheck(judged: tuple[str, ...], required: str) -> Recheck:
    return lambda trial, size, case: _wrong(trial, case, judged, required)


SYNC = "every tensor of the target network equal to the online one's, which stays as it was"
BETWEEN = "a target network that stays as it is between its updates"
SHARED = "the share tau of the way to the online network, which stays as it was"
GRADIENT = "gradients for the online network, and none for the target network"
SAVED = "both networks as they were saved"


# --- claims -----------------------------------------------------------------------------------------------------------


def _unequal(trial: Trial, case: Case) -> Counterexample | None:
    with Stream(case["seed"]).active():
        online, target = _made(trial).networks()
    found = first_difference(target, online)
    return None if found is None else counterexample(case, f"when made, of the target network {found}", "equal numbers")


@claim(
    "target_network.start",
    "At the start the target network equals the online network.",
    roles=("target_network",),
    cite=f"{BOOK}: theta' = theta at the start",
    method="made with different seeds, every tensor compared without tolerance",
    recheck=lambda trial, size, case: _unequal(trial, case),
)
def target_start(trial: Trial) -> Finding:
    """Equal when made."""
    with Stream(0).active():
        made = _made(trial).made
    if getattr(made, "starts", getattr(trial.target.factory, "starts", "equal")) != "equal":
        return Finding(not_applicable="The target declares that its networks do not start equal.")
    test: Callable[[Case], Counterexample | None] = lambda case: _unequal(trial, case)  # noqa: E731
    return search(
        trial, lambda generator, k: {"seed": k}, test, method="made with different seeds", key="target_network.start"
    )


@claim(
    "target_network.sync",
    "sync() sets every tensor of the target network, mixer and buffers included, to the online network's, and leaves "
    "that as it is.",
    roles=("target_network",),
    cite=f"{BOOK}; errata E3: the mixer has a target, too",
    method="drawn operations, then a sync; every tensor compared without tolerance",
    recheck=_recheck(("sync",), SYNC),
)
def target_sync(trial: Trial) -> Finding:
    """Everything, in the right direction."""
    return _searched(trial, ("sync",), SYNC, "target_network.sync")


@claim(
    "target_network.between",
    "Between its updates nothing moves the target network: neither numbers written into the online one nor training.",
    roles=("target_network",),
    cite=f"{BOOK}: the parameters theta' are held fixed between updates",
    method="drawn operations; the target network compared before and after, without tolerance",
    recheck=_recheck(("write", "learn"), BETWEEN),
)
def target_between(trial: Trial) -> Finding:
    """No shared memory, no optimiser on it."""
    return _searched(trial, ("write", "learn"), BETWEEN, "target_network.between")


@claim(
    "target_network.soft",
    "soft_update(tau) moves every parameter of the target network by exactly the share tau: tau = 1 syncs, tau = 0 "
    "leaves it; the online network stays.",
    roles=("target_network",),
    cite=SOFT,
    method="drawn operations, then a soft update, compared up to 4 roundings of the parameters' type",
    recheck=_recheck(("soft",), SHARED),
)
def target_soft(trial: Trial) -> Finding:
    """The right share, of all parameters, in the right direction."""
    return _searched(trial, ("soft",), SHARED, "target_network.soft")


@claim(
    "target_network.gradient",
    "The loss sends gradients to the online network and none to the target network.",
    roles=("target_network",),
    cite=f"{BOOK}: the target is a constant of the loss",
    method="backward through the loss after drawn operations",
    recheck=_recheck(("loss",), GRADIENT),
)
def target_gradient(trial: Trial) -> Finding:
    """Detached where it should be, and not where it should not."""
    return _searched(trial, ("loss",), GRADIENT, "target_network.gradient")


@claim(
    "target_network.saved",
    "Saving and loading brings back both networks, in the same object and in a fresh one.",
    roles=("target_network",),
    cite=f"{BOOK}: training goes on as if it had not been interrupted",
    method="drawn operations, a round trip through a file, other numbers in between; compared without tolerance",
    recheck=_recheck(("reload",), SAVED),
)
def target_saved(trial: Trial) -> Finding:
    """Neither network is forgotten."""
    return _searched(trial, ("reload",), SAVED, "target_network.saved")
