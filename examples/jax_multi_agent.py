"""JAX: mixers as targets of the judge, and functions whose results on the vectors are verified.

    marlspec check examples/jax_multi_agent.py:vdn --role vdn_mixer
    marlspec check examples/jax_multi_agent.py:qmix --role qmix_mixer
    marlspec vectors write vectors
    python examples/jax_multi_agent.py vectors results.json
    marlspec vectors verify results.json

It needs the package jax. Run as a program it knows the vector files alone, and nothing of marlspec.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

jax.config.update("jax_enable_x64", True)

Mixer = Callable[[Any, Any], NDArray[Any]]
WIDTH = 8  # hidden units of the mixing network


# --- mixers -----------------------------------------------------------------------------------------------------------


@jax.jit
def mix(utilities: jax.Array, w1: jax.Array, b1: jax.Array, w2: jax.Array, v: jax.Array) -> jax.Array:
    """Return QMIX's Q_tot [B] of utilities [B, n] with mixing parameters w1 [B, n, m], b1 and w2 [B, m], v [B]."""
    hidden = jax.nn.elu(jnp.einsum("bn,bnm->bm", utilities, w1) + b1)
    return (hidden * w2).sum(-1) + v


def _linear(key: jax.Array, inputs: int, outputs: int) -> Callable[[jax.Array], jax.Array]:
    own, other = jax.random.split(key)
    weight, bias = jax.random.normal(own, (inputs, outputs)) / inputs**0.5, jax.random.normal(other, (outputs,)) / 2
    return lambda x: x @ weight + bias


def vdn(n_agents: int, state_size: int) -> Mixer:
    """Return VDN's mixer."""
    return _on_numpy(lambda utilities, state: utilities.sum(-1))


def qmix(n_agents: int, state_size: int, seed: int = 0) -> Mixer:
    """Return QMIX's mixer; its parameters are JAX's own, so that the judge takes them as they are."""
    keys = jax.random.split(jax.random.key(seed), 5)
    h1, b1, h2 = _linear(keys[0], state_size, n_agents * WIDTH), *(_linear(key, state_size, WIDTH) for key in keys[1:3])
    hidden, out = _linear(keys[3], state_size, WIDTH), _linear(keys[4], WIDTH, 1)

    def mixer(utilities: jax.Array, state: jax.Array) -> jax.Array:
        w1 = jnp.abs(h1(state)).reshape(-1, n_agents, WIDTH)
        return mix(utilities, w1, b1(state), jnp.abs(h2(state)), out(jax.nn.relu(hidden(state)))[:, 0])

    return _on_numpy(mixer)


def _on_numpy(function: Callable[..., jax.Array]) -> Mixer:
    compiled = jax.jit(function)

    def mixer(utilities: NDArray[Any], state: NDArray[Any]) -> NDArray[Any]:
        return np.array(compiled(utilities, state))

    vars(mixer)["arrays"] = "numpy"
    return mixer


# --- targets ----------------------------------------------------------------------------------------------------------


@jax.jit
def td_lambda_target(
    reward: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    next_values: jax.Array,
    gamma: float,
    td_lambda: float,
) -> jax.Array:
    """Return TD(lambda) targets [K, T, n] of rewards [K, T] and the values [K, T, n] of what follows each step."""

    def step(following: jax.Array, inputs: Any) -> tuple[jax.Array, jax.Array]:
        r, ends, is_cut, value = inputs
        onward = jnp.where(is_cut[:, None], value, (1 - td_lambda) * value + td_lambda * following)
        y = r[:, None] + jnp.where(ends[:, None], 0.0, gamma * onward)
        return y, y

    time_first = [jnp.moveaxis(x, 1, 0) for x in (reward, terminated, truncated, next_values)]
    _, y = jax.lax.scan(step, next_values[:, -1], tuple(time_first), reverse=True)
    return jnp.moveaxis(y, 0, 1)


@jax.jit
def vdn_target(reward: jax.Array, terminated: jax.Array, next_utilities: jax.Array, gamma: float) -> jax.Array:
    """Return VDN's targets [B]."""
    return jnp.where(terminated, reward, reward + gamma * next_utilities.max(-1).sum(-1))


# --- the vectors ------------------------------------------------------------------------------------------------------

FUNCTIONS = {"coma.target": td_lambda_target, "qmix.mix": mix, "vdn.target": vdn_target}


def read(value: Any, folder: Path) -> Any:
    """Read an argument of a case: a number, or an array in the JSON file or beside it."""
    if not isinstance(value, dict):
        return float(value) if isinstance(value, str) else value
    if "safetensors" in value:
        from safetensors.numpy import load_file

        return load_file(folder / value["safetensors"]["file"])[value["safetensors"]["key"]]
    return np.array(value["data"], dtype=value["dtype"]).reshape(value["shape"])


def results(folder: Path) -> dict[str, Any]:
    """Return what the functions compute on the vectors of a folder."""
    found = {}
    for name, function in FUNCTIONS.items():
        for case in json.loads((folder / f"{name}.json").read_text())["cases"]:
            value = function(**{key: read(entry, folder) for key, entry in case["inputs"].items()})
            found[case["id"]] = np.asarray(value).tolist()
    return {"schema": "marlspec.results/1", "implementation": f"jax {jax.__version__}", "results": found}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(results(Path(sys.argv[1]))))
