"""JaxMARL's mixing network and advantages behind the live door, in an environment of their own.

    python3 -m venv peer_jaxmarl
    peer_jaxmarl/bin/pip install jaxmarl
    git clone https://github.com/FLAIROx/JaxMARL
    marlspec check 'exec:peer_jaxmarl/bin/python examples/live_jaxmarl.py JaxMARL qmix' --role qmix_mixer
    marlspec check 'exec:peer_jaxmarl/bin/python examples/live_jaxmarl.py JaxMARL gae' --role return_estimator

JaxMARL's package holds environments; its algorithms are training scripts beside it, in which mixer and advantages are
definitions inside. They are taken out of the scripts as they stand, and run without the rest.
"""

import ast
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.initializers import constant, orthogonal
from live_door import Function, serve

jax.config.update("jax_enable_x64", True)

SCRIPTS = {"qmix": "baselines/QLearning/qmix_rnn.py", "gae": "baselines/IPPO/ippo_ff_mpe.py"}


def definitions(path: Path, *names: str) -> dict[str, Any]:
    """Return the named functions and classes of a script, wherever they stand in it, and their scope."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = [node for node in ast.walk(tree) if isinstance(node, kinds) and node.name in names]
    missing = set(names) - {node.name for node in found}
    if missing:
        sys.exit(f"{path} defines no {', '.join(sorted(missing))}: another version?")
    scope = {"jax": jax, "jnp": jnp, "nn": nn, "constant": constant, "orthogonal": orthogonal, "NamedTuple": NamedTuple}
    exec(compile(ast.Module(found, []), str(path), "exec"), scope)
    return scope


def qmix(path: Path, hello: Mapping[str, Any]) -> Function:
    """Return MixingNetwork, which takes utilities [n, T, B] and states [T, B, s], for one time step."""
    options = {"embedding_dim": 32, "hypernet_hidden_dim": 64, "init_scale": 1.0, **hello["settings"]}
    network = definitions(path, "HyperNetwork", "MixingNetwork")["MixingNetwork"](**options)
    n, s = hello["sizes"]["n_agents"], hello["sizes"]["state_size"]
    parameters = network.init(jax.random.key(hello["seed"]), jnp.zeros((n, 1, 2)), jnp.zeros((1, 2, s)))
    mix = jax.jit(lambda utilities, state: network.apply(parameters, utilities.T[:, None], state[None]))
    return lambda utilities, state: np.asarray(mix(utilities, state)).reshape(len(utilities))


def gae(path: Path, hello: Mapping[str, Any]) -> Function:
    """Return _calculate_gae, which takes time steps first, and one flag for whatever ends an episode."""
    scope = definitions(path, "Transition", "_calculate_gae")

    @jax.jit
    def advantages(done: Any, value: Any, reward: Any, last: Any, gamma: float, lam: float) -> Any:
        scope["config"] = {"GAMMA": gamma, "GAE_LAMBDA": lam}
        rest = dict.fromkeys(("action", "log_prob", "obs", "info"), jnp.zeros_like(value))
        return scope["_calculate_gae"](scope["Transition"](done=done, value=value, reward=reward, **rest), last)[0]

    def estimate(r: Any, v: Any, next_v: Any, ends: Any, cut: Any, mask: Any, gamma: float, lam: float) -> Any:
        return np.asarray(advantages((ends | cut).T, v.T, r.T, next_v[:, -1], gamma, lam)).T

    return estimate


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in SCRIPTS:
        sys.exit(f"give the folder of a checkout of JaxMARL and one of {', '.join(SCRIPTS)}")
    folder, name = Path(sys.argv[1]), sys.argv[2]
    if not (folder / SCRIPTS[name]).is_file():
        sys.exit(f"no file {SCRIPTS[name]} in {folder}: give the folder of a checkout of JaxMARL")
    serve(
        lambda hello: {"qmix": qmix, "gae": gae}[name](folder / SCRIPTS[name], hello),
        {"estimate": "advantage", "rows": "rollout"} if name == "gae" else None,
    )
