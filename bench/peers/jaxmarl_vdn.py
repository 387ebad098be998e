"""JaxMARL's VDN with feed-forward networks, as its own training script has it, from a checkout of its source.

What differs from our side and cannot be set: its optimiser is RAdam with clipped gradients, its batches are drawn
without replacement of whole buffers, and each request trains anew from an empty replay buffer inside one compiled
function, so that its start is timed as well. NUM_STEPS is 1, since with more it pairs observations that lie NUM_STEPS
apart; NUM_LAYERS is 4, which makes two hidden layers. One network serves all agents, as with our --share.
"""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import worker

PARSER = worker.parser()
PARSER.add_argument("--checkout", type=Path, required=True, help="the folder of JaxMARL's source, with baselines/")
OPTIONS = PARSER.parse_args()
worker.pin(OPTIONS.threads)
if OPTIONS.device == "cpu":
    os.environ["JAX_PLATFORMS"] = "cpu"
    if OPTIONS.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
sys.path.insert(0, str(OPTIONS.checkout / "baselines" / "QLearning"))

import jax  # noqa: E402  (reads the environment when it is imported)
import vdn_ff  # noqa: E402

K = OPTIONS.copies
BEFORE_LEARNING = max(
    worker.BATCH // K, 1
)  # time steps until its buffer lets it learn; the count of updates confirms it


def settings(steps: int) -> dict[str, Any]:
    """What its training script reads from its configuration, for so many updates."""
    return {
        "ENV_NAME": "MPE_simple_speaker_listener_v4",
        "ENV_KWARGS": {},
        "TOTAL_TIMESTEPS": (steps + BEFORE_LEARNING) * K,
        "NUM_ENVS": K,
        "NUM_STEPS": 1,
        "NUM_EPOCHS": 1,
        "BUFFER_SIZE": worker.replay_capacity(K),
        "BUFFER_BATCH_SIZE": worker.BATCH,
        "HIDDEN_SIZE": worker.HIDDEN,
        "NUM_LAYERS": 4,
        "EPS_START": worker.EPSILON,
        "EPS_FINISH": worker.EPSILON,
        "EPS_DECAY": 1.0,
        "MAX_GRAD_NORM": 10.0,
        "TARGET_UPDATE_INTERVAL": worker.TARGET_INTERVAL,
        "TAU": 1.0,
        "LR": worker.LEARNING_RATE,
        "LEARNING_STARTS": 0,
        "GAMMA": worker.GAMMA,
        "TEST_DURING_TRAINING": False,
        "TEST_NUM_ENVS": 1,
        "WANDB_MODE": "disabled",
    }


@cache
def training(steps: int) -> Any:
    """A compiled training of so many updates, which returns what is left of its networks and counters."""
    config = settings(steps)
    env, _ = vdn_ff.env_from_config(config)
    train = vdn_ff.make_train(config, env)
    return jax.jit(lambda key: train(key)["runner_state"][0])


def main() -> None:
    """Train until nobody asks for more."""
    if OPTIONS.algorithm != "vdn":
        PARSER.error("--algorithm vdn is the only one of this worker")
    made = [0, 0]
    key = jax.random.PRNGKey(0)
    trained = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(training(1), key).params))

    def run(steps: int) -> None:
        found = training(steps)(key)
        made[0] += int(found.grad_steps)
        made[1] += int(found.timesteps)

    worker.serve(worker.contract(K, trained), ["jaxmarl", "jax", "flashbax"], run, lambda: (made[0], made[1]))


if __name__ == "__main__":
    main()
