"""BenchMARL's VDN and QMIX by its own experiment loop, on the speaker-listener game as K copies of one TorchRL env.

What differs from our side and cannot be set: gradients' norms are taken, though nothing is clipped, and the loop logs
the returns of each batch. Agents form one group, else each would have a mixer of its own; the speaker's observation is
padded and its missing actions are masked, as on our side. Evaluation, loggers and checkpoints are off.
"""

import os
import tempfile
import threading
import traceback

import worker

PARSER = worker.parser()
OPTIONS = PARSER.parse_args()
worker.pin(OPTIONS.threads)
os.environ["TQDM_DISABLE"] = "1"

import torch  # noqa: E402  (counts the processors when it is imported)
from benchmarl.algorithms import QmixConfig, VdnConfig  # noqa: E402
from benchmarl.environments.common import TaskClass  # noqa: E402
from benchmarl.experiment import Callback, Experiment, ExperimentConfig  # noqa: E402
from benchmarl.models import MlpConfig  # noqa: E402
from tensordict import TensorDict  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torchrl.data import Binary, Categorical, Composite, Unbounded  # noqa: E402
from torchrl.envs import EnvBase  # noqa: E402

torch.set_num_threads(OPTIONS.threads)

N, A, SEEN, Z, LENGTH = 2, 5, 11, 14, 25
GROUP = "agents"


class SpeakerListener(EnvBase):
    """K copies of the game."""

    def __init__(self, copies: int, device: str) -> None:
        super().__init__(device=device, batch_size=[copies])
        K = self.batch_size
        self.pushes = torch.tensor([[0.0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]], device=device) * 0.5
        self.colours = torch.full((3, 3), 0.15, device=device) + 0.5 * torch.eye(3, device=device)
        self.messages = torch.eye(4, 3, device=device)
        self.mask = (torch.arange(A, device=device) < torch.tensor([[3], [5]], device=device)).expand(*K, N, A)
        seen = Composite(
            observation=Unbounded((*K, N, SEEN), device=device),
            action_mask=Binary(A, (*K, N, A), dtype=torch.bool, device=device),
            shape=(*K, N),
        )
        state = Unbounded((*K, Z), device=device)
        self.observation_spec = Composite({GROUP: seen, "state": state}, shape=K)
        action = Composite(action=Categorical(A, (*K, N), device=device), shape=(*K, N))
        self.action_spec = Composite({GROUP: action}, shape=K)
        self.reward_spec = Composite(reward=Unbounded((*K, 1), device=device), shape=K)
        flags = {name: Binary(1, (*K, 1), dtype=torch.bool, device=device) for name in ("done", "terminated")}
        self.done_spec = Composite(flags, shape=K)

    def fresh(self) -> dict[str, Tensor]:
        """K fresh copies."""
        K, device = self.batch_size[0], self.device
        return {
            "position": 2 * torch.rand(K, 2, device=device) - 1,
            "velocity": torch.zeros(K, 2, device=device),
            "landmarks": 2 * torch.rand(K, 3, 2, device=device) - 1,
            "goal": torch.randint(3, (K,), device=device),
            "message": torch.full((K,), 3, device=device),
            "time": torch.zeros(K, dtype=torch.int64, device=device),
        }

    def observed(self):
        """What the agents and a mixer see."""
        world = self.world
        speaker = self.colours[world["goal"]]
        landmarks = (world["landmarks"] - world["position"][:, None]).flatten(1)
        listener = torch.cat([world["velocity"], landmarks, self.messages[world["message"]]], -1)
        seen = torch.stack([nn.functional.pad(speaker, (0, SEEN - 3)), listener], 1)
        return {
            GROUP: TensorDict({"observation": seen, "action_mask": self.mask}, batch_size=(*self.batch_size, N)),
            "state": torch.cat([speaker, listener], -1),
        }

    def _reset(self, tensordict):
        new = self.fresh()
        if tensordict is not None and "_reset" in tensordict.keys():  # noqa: SIM118  (a tensordict iterates over rows)
            chosen = tensordict["_reset"].flatten()
            new = {
                name: torch.where(chosen.view(-1, *[1] * (own.dim() - 1)), own, self.world[name])
                for name, own in new.items()
            }
        self.world = new
        never = torch.zeros(*self.batch_size, 1, dtype=torch.bool, device=self.device)
        return self.rows(self.observed() | {"done": never, "terminated": never.clone()})

    def _step(self, tensordict):
        world, action = self.world, tensordict[GROUP, "action"]
        position = world["position"] + 0.1 * world["velocity"]
        velocity = 0.75 * world["velocity"] + self.pushes[action[:, 1]]
        changed = {"position": position, "velocity": velocity, "message": action[:, 0], "time": world["time"] + 1}
        self.world = world | changed
        goal = world["landmarks"].take_along_dim(world["goal"][:, None, None], 1)[:, 0]
        done = (self.world["time"] >= LENGTH)[:, None]
        outcome = {
            "reward": -(position - goal).square().sum(-1, keepdim=True),
            "done": done,
            "terminated": torch.zeros_like(done),
        }
        return self.rows(self.observed() | outcome)

    def rows(self, values):
        """A tensordict of these values, one row for each copy."""
        return TensorDict(values, batch_size=self.batch_size, device=self.device)

    def _set_seed(self, seed):
        torch.manual_seed(0 if seed is None else seed)


class Task(TaskClass):
    """The game as BenchMARL asks for it."""

    def __init__(self) -> None:
        super().__init__(name="SPEAKER_LISTENER", config={})

    def get_env_fun(self, num_envs, continuous_actions, seed, device):
        return lambda: SpeakerListener(num_envs, device)

    def supports_continuous_actions(self):
        return False

    def supports_discrete_actions(self):
        return True

    def max_steps(self, env):
        return LENGTH

    def has_render(self, env):
        return False

    def group_map(self, env):
        return {GROUP: ["speaker", "listener"]}

    def observation_spec(self, env):
        return _of_a_copy(
            Composite({GROUP: {"observation": env.full_observation_spec_unbatched[GROUP, "observation"]}})
        )

    def info_spec(self, env):
        return None

    def state_spec(self, env):
        return Composite(state=env.full_observation_spec_unbatched["state"])

    def action_spec(self, env):
        return env.full_action_spec_unbatched

    def action_mask_spec(self, env):
        return _of_a_copy(
            Composite({GROUP: {"action_mask": env.full_observation_spec_unbatched[GROUP, "action_mask"]}})
        )

    @staticmethod
    def env_name():
        return "speaker_listener"


def _of_a_copy(spec: Composite) -> Composite:
    """With the number of agents as the shape of their group."""
    spec[GROUP].shape = (N,)
    return spec


class Turns(Callback):
    """Lets the loop, in a thread of its own, make as many updates as it is asked for, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.updates = 0
        self.left = 0
        self.asked, self.made = threading.Semaphore(0), threading.Semaphore(0)

    def __getstate__(self):
        """Nothing of it is kept beside the experiment."""
        return {}

    def on_train_step(self, batch, group):
        self.updates += 1

    def on_train_end(self, training_td, group):
        self.left -= 1
        if self.left == 0:
            self.made.release()
            self.asked.acquire()

    def run(self, steps: int) -> None:
        """Wait until so many steps are made."""
        self.left = steps
        self.asked.release()
        self.made.acquire()


def experiment(turns: Turns, folder: str) -> Experiment:
    """BenchMARL's experiment with the sizes that both sides have in common; it keeps its settings in a folder."""
    config = ExperimentConfig.get_from_yaml()
    K = OPTIONS.copies
    wanted = {
        "sampling_device": OPTIONS.device,
        "train_device": OPTIONS.device,
        "buffer_device": OPTIONS.device,
        "share_policy_params": False,
        "prefer_continuous_actions": False,
        "gamma": worker.GAMMA,
        "lr": worker.LEARNING_RATE,
        "adam_eps": 1e-8,
        "clip_grad_val": None,
        "soft_target_update": False,
        "hard_target_update_frequency": worker.TARGET_INTERVAL,
        "exploration_eps_init": worker.EPSILON,
        "exploration_eps_end": worker.EPSILON,
        "max_n_iters": 10**9,
        "max_n_frames": None,
        "off_policy_collected_frames_per_batch": K,
        "off_policy_n_envs_per_worker": K,
        "off_policy_n_optimizer_steps": 1,
        "off_policy_train_batch_size": worker.BATCH,
        "off_policy_memory_size": worker.replay_capacity(K),
        "evaluation": False,
        "evaluation_episodes": 1,
        "loggers": [],
        "create_json": False,
        "save_folder": folder,
    }
    for name, value in wanted.items():
        assert hasattr(config, name), name
        setattr(config, name, value)
    settings = {"delay_value": True, "loss_function": "l2"}
    algorithms = {"vdn": VdnConfig(**settings), "qmix": QmixConfig(mixing_embed_dim=worker.EMBED, **settings)}
    model = MlpConfig(num_cells=[worker.HIDDEN] * 2, layer_class=nn.Linear, activation_class=nn.ReLU)
    return Experiment(Task(), algorithms[OPTIONS.algorithm], model, seed=0, config=config, callbacks=[turns])


def main() -> None:
    """Train until nobody asks for more."""
    with tempfile.TemporaryDirectory() as folder:
        turns = Turns()
        own = experiment(turns, folder)
        optimisers = own.optimizers[GROUP].values()
        trained = sum(part.numel() for each in optimisers for group in each.param_groups for part in group["params"])
        threading.Thread(target=loop, args=(own, turns), daemon=True).start()
        worker.serve(
            worker.contract(OPTIONS.copies, trained),
            ["benchmarl", "torchrl", "tensordict", "torch"],
            turns.run,
            lambda: (turns.updates, own.total_frames),
        )
    os._exit(0)  # the loop waits to be asked, and would be waited for


def loop(own: Experiment, turns: Turns) -> None:
    """Run the experiment, step by step as it is asked for."""
    torch.set_num_threads(OPTIONS.threads)
    turns.asked.acquire()
    try:
        own.run()
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # whoever waits for a step would wait for ever


if __name__ == "__main__":
    main()
