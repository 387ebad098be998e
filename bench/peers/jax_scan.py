"""VDN and QMIX on the speaker-listener game as one compiled loop of JAX, written to be as fast as JAX makes it.

It has the game, the networks, the replay buffer and the updates of this project's learners, in the same sizes, and
nothing besides: no seeds axis, no evaluation, no checks. Nothing leaves the device between two steps. It stands alone
and needs jax only.
"""

import os
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import worker

OPTIONS = worker.parser().parse_args()
worker.pin(OPTIONS.threads)
if OPTIONS.device == "cpu":
    os.environ["JAX_PLATFORMS"] = "cpu"
    if OPTIONS.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax  # noqa: E402  (reads the environment when it is imported)
import jax.numpy as jnp  # noqa: E402

K = OPTIONS.copies
CAPACITY = worker.replay_capacity(K)
N, A, SEEN, Z, LENGTH = 2, 5, 11, 14, 25
PUSHES = jnp.array([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]]) * 0.5
COLOURS = jnp.full((3, 3), 0.15) + 0.5 * jnp.eye(3)
AVAILABLE = jnp.arange(A) < jnp.array([[3], [5]])
BETAS, TINY = (0.9, 0.999), 1e-8


class World(NamedTuple):
    """K copies of the game."""

    position: jax.Array
    velocity: jax.Array
    landmarks: jax.Array
    goal: jax.Array
    message: jax.Array
    time: jax.Array


class Run(NamedTuple):
    """All that a step hands on to the next."""

    key: jax.Array
    world: World
    online: Any
    target: Any
    first: Any
    second: Any
    replay: Any
    t: jax.Array
    updates: jax.Array


def fresh(key: jax.Array) -> World:
    """K fresh copies."""
    of_position, of_landmarks, of_goal = jax.random.split(key, 3)
    return World(
        jax.random.uniform(of_position, (K, 2), minval=-1, maxval=1),
        jnp.zeros((K, 2)),
        jax.random.uniform(of_landmarks, (K, 3, 2), minval=-1, maxval=1),
        jax.random.randint(of_goal, (K,), 0, 3),
        jnp.full((K,), 3),
        jnp.zeros((K,), jnp.int32),
    )


def observed(world: World) -> tuple[jax.Array, jax.Array]:
    """Observations [K, n, o] and the joint one [K, z]."""
    speaker = COLOURS[world.goal]
    seen = (world.landmarks - world.position[:, None]).reshape(K, 6)
    listener = jnp.concatenate([world.velocity, seen, jax.nn.one_hot(world.message, 3)], -1)
    padded = jnp.pad(speaker, ((0, 0), (0, SEEN - 3)))
    return jnp.stack([padded, listener], 1), jnp.concatenate([speaker, listener], -1)


def moved(world: World, action: jax.Array) -> tuple[World, jax.Array, jax.Array]:
    """The next state, the shared reward, and which copies are cut off."""
    position = world.position + 0.1 * world.velocity
    velocity = 0.75 * world.velocity + PUSHES[action[:, 1]]
    after = world._replace(position=position, velocity=velocity, message=action[:, 0], time=world.time + 1)
    goal = jnp.take_along_axis(world.landmarks, world.goal[:, None, None], 1)[:, 0]
    return after, -jnp.square(position - goal).sum(-1), after.time >= LENGTH


def drawn(key: jax.Array, shape: tuple[int, ...], n_in: int) -> jax.Array:
    """Parameters, uniform as PyTorch draws them."""
    return jax.random.uniform(key, shape, minval=-(n_in**-0.5), maxval=n_in**-0.5)


def network(key: jax.Array, sizes: list[int], ensemble: tuple[int, ...] = ()) -> list[tuple[jax.Array, jax.Array]]:
    """Layers (W, b) of a multi-layer perceptron, or of several side by side."""
    layers = []
    for i, j in pairwise(sizes):
        key, of_w, of_b = jax.random.split(key, 3)
        layers.append((drawn(of_w, (*ensemble, i, j), i), drawn(of_b, (*ensemble, 1, j), i)))
    return layers


def parameters(key: jax.Array) -> dict[str, Any]:
    """The utility networks, and QMIX's hypernetwork."""
    keys = jax.random.split(key, 5)
    found = {"utilities": network(keys[0], [SEEN, worker.HIDDEN, worker.HIDDEN, A], (N,))}
    if OPTIONS.algorithm == "qmix":
        found["w1"] = network(keys[1], [Z, N * worker.EMBED])
        found["b1"] = network(keys[2], [Z, worker.EMBED])
        found["w2"] = network(keys[3], [Z, worker.EMBED])
        found["v"] = network(keys[4], [Z, worker.EMBED, 1])
    return found


def through(layers: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    """A multi-layer perceptron with ReLU, or several on a batch each."""
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


def utilities(theta: Any, history: jax.Array) -> jax.Array:
    """Utilities [B, n, A] of histories [B, n, o]."""
    return through(theta["utilities"], history.swapaxes(0, 1)).swapaxes(0, 1)


def mixed(theta: Any, values: jax.Array, z: jax.Array) -> jax.Array:
    """Q_tot [B] of utilities [B, n]."""
    if OPTIONS.algorithm == "vdn":
        return values.sum(-1)
    w1 = jnp.abs(through(theta["w1"], z)).reshape(-1, N, worker.EMBED)
    hidden = jax.nn.elu((values[..., None] * w1).sum(-2) + through(theta["b1"], z))
    return (hidden * jnp.abs(through(theta["w2"], z))).sum(-1) + through(theta["v"], z)[:, 0]


def loss(theta: Any, target: Any, batch: dict[str, jax.Array]) -> jax.Array:
    """The mean squared error of a batch."""
    following = jnp.where(batch["next_available"], utilities(target, batch["next_history"]), -jnp.inf).max(-1)
    bootstrap = worker.GAMMA * mixed(target, following, batch.get("next_z"))
    y = jnp.where(batch["terminated"], batch["reward"], batch["reward"] + bootstrap)
    taken = jnp.take_along_axis(utilities(theta, batch["history"]), batch["action"][..., None], -1)[..., 0]
    return jnp.square(jax.lax.stop_gradient(y) - mixed(theta, taken, batch.get("z"))).mean()


def act(key: jax.Array, theta: Any, history: jax.Array) -> jax.Array:
    """Epsilon-greedy actions [K, n]."""
    of_coin, of_action = jax.random.split(key)
    explores = jax.random.uniform(of_coin, (K, N, 1)) < worker.EPSILON
    scores = jnp.where(explores, jax.random.uniform(of_action, (K, N, A)), utilities(theta, history))
    return jnp.where(AVAILABLE, scores, -jnp.inf).argmax(-1)


def transition(before: World, action: jax.Array, reward: jax.Array, after: World) -> dict[str, jax.Array]:
    """What the replay buffer keeps of K copies."""
    (history, z), (next_history, next_z) = observed(before), observed(after)
    found = {
        "history": history,
        "action": action,
        "reward": reward,
        "next_history": next_history,
        "next_available": jnp.broadcast_to(AVAILABLE, (K, N, A)),
        "terminated": jnp.zeros((K,), bool),
    }
    return found if OPTIONS.algorithm == "vdn" else found | {"z": z, "next_z": next_z}


def stored(replay: Any, rows: dict[str, jax.Array], cursor: jax.Array) -> Any:
    """The ring with K more transitions; its capacity is a multiple of K."""
    return {name: jax.lax.dynamic_update_slice_in_dim(field, rows[name], cursor, 0) for name, field in replay.items()}


def step(_: int, run: Run) -> Run:
    """Act, store, sample, update."""
    key, of_act, of_start, of_batch = jax.random.split(run.key, 4)
    action = act(of_act, run.online, observed(run.world)[0])
    after, reward, ended = moved(run.world, action)
    replay = stored(run.replay, transition(run.world, action, reward, after), run.t * K % CAPACITY)
    rows = jax.random.randint(of_batch, (worker.BATCH,), 0, jnp.minimum((run.t + 1) * K, CAPACITY))
    gradient = jax.grad(loss)(run.online, run.target, {name: field[rows] for name, field in replay.items()})
    updates = run.updates + 1
    online, first, second = adam(run, gradient, updates)
    synchronised = updates % worker.TARGET_INTERVAL == 0
    target = jax.tree.map(partial(jnp.where, synchronised), online, run.target)
    world = jax.tree.map(
        lambda new, old: jnp.where(ended.reshape(-1, *[1] * (new.ndim - 1)), new, old), fresh(of_start), after
    )
    return Run(key, world, online, target, first, second, replay, run.t + 1, updates)


def adam(run: Run, gradient: Any, updates: jax.Array) -> tuple[Any, Any, Any]:
    """Parameters and both moments after a step of Adam."""
    first = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, run.first, gradient)
    second = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, run.second, gradient)
    of_first, of_second = (1 - beta**updates for beta in BETAS)
    online = jax.tree.map(
        lambda p, m, v: p - worker.LEARNING_RATE * (m / of_first) / (jnp.sqrt(v / of_second) + TINY),
        run.online,
        first,
        second,
    )
    return online, first, second


def begun(key: jax.Array) -> Run:
    """A run before its first step."""
    key, of_world, of_parameters = jax.random.split(key, 3)
    world, online = fresh(of_world), parameters(of_parameters)
    rows = transition(world, jnp.zeros((K, N), jnp.int32), jnp.zeros((K,)), world)
    replay = {name: jnp.zeros((CAPACITY, *field.shape[1:]), field.dtype) for name, field in rows.items()}
    first, second, target = (jax.tree.map(change, online) for change in (jnp.zeros_like, jnp.zeros_like, jnp.copy))
    return Run(key, world, online, target, first, second, replay, jnp.int32(0), jnp.int32(0))


def several(run: Run, steps: jax.Array) -> Run:
    """Make so many steps; a number that is given as it runs, lest each asks for a compilation of its own."""
    return jax.lax.fori_loop(0, steps, step, run)


def main() -> None:
    """Train until nobody asks for more."""
    advance = jax.jit(several, donate_argnums=0)
    state = begun(jax.random.key(0))
    trained = sum(leaf.size for leaf in jax.tree.leaves(state.online))

    def run(steps: int) -> None:
        nonlocal state
        state = advance(state, steps)
        state.updates.block_until_ready()

    counters = lambda: (int(state.updates), int(state.t) * K)  # noqa: E731
    worker.serve(worker.contract(K, trained), ["jax", "jaxlib"], run, counters)


if __name__ == "__main__":
    main()
