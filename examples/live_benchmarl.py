"""BenchMARL's mixers behind the live door, in an environment of their own.

    python3 -m venv peer_benchmarl
    peer_benchmarl/bin/pip install benchmarl
    marlspec check 'exec:peer_benchmarl/bin/python examples/live_benchmarl.py vdn' --role vdn_mixer
    marlspec check 'exec:peer_benchmarl/bin/python examples/live_benchmarl.py qmix' --role qmix_mixer

Its algorithms make their mixers of torchrl's, with shapes of their own: get_mixer is called with what it reads of an
algorithm.
"""

import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from benchmarl.algorithms import Qmix, Vdn
from live_door import Function, serve
from tensordict import TensorDict
from torchrl.data import Composite, Unbounded

ALGORITHMS = {"qmix": Qmix, "vdn": Vdn}


def mixer(name: str, hello: Mapping[str, Any]) -> Function:
    """Return the mixer of an algorithm whose environment has a state."""
    torch.manual_seed(hello["seed"])
    torch.set_default_dtype(torch.float64)
    n, s = hello["sizes"]["n_agents"], hello["sizes"]["state_size"]
    algorithm = SimpleNamespace(
        group_map={"agents": [f"agent_{i}" for i in range(n)]},
        state_spec=Composite(state=Unbounded(shape=(s,))),
        mixing_embed_dim=hello["settings"].get("mixing_embed_dim", 32),
        device="cpu",
    )
    module = ALGORITHMS[name].get_mixer(algorithm, "agents")

    def mix(utilities: Any, state: Any) -> Any:
        chosen = torch.from_numpy(utilities).unsqueeze(-1)
        data = TensorDict(
            {"agents": {"chosen_action_value": chosen}, "state": torch.from_numpy(state)}, [len(utilities)]
        )
        with torch.no_grad():
            return module(data)["chosen_action_value"].squeeze(-1).numpy()

    return mix


if __name__ == "__main__":
    if sys.argv[1:] not in [[name] for name in ALGORITHMS]:
        sys.exit(f"name one of {', '.join(ALGORITHMS)}")
    serve(lambda hello: mixer(sys.argv[1], hello))
