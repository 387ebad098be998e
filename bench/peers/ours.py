"""Our side of a comparison: W1, as the training loop runs it."""

from typing import Any

import torch

from marlspec.games.batched_catalogue import batched_game
from marlspec.reference.commands import learner_class
from marlspec.reference.parts.training import created

from ..workloads import OPTIONS, steps_of, synchronise
from . import worker


def main() -> None:
    """Train until nobody asks for more."""
    parser = worker.parser()
    parser.add_argument("--game", default="speaker-listener")
    parser.add_argument("--share", action="store_true", help="one network for all agents")
    options = parser.parse_args()
    if options.form not in OPTIONS:
        parser.error(f"--form is one of {', '.join(OPTIONS)}")
    worker.pin(options.threads)
    torch.set_num_threads(options.threads)
    kind = learner_class(options.algorithm)
    settings: dict[str, Any] = {
        "copies": options.copies,
        "device": options.device,
        "batch_size": worker.BATCH,
        "hidden": (worker.HIDDEN, worker.HIDDEN),
        "target_interval": worker.TARGET_INTERVAL,
        "learning_rate": worker.LEARNING_RATE,
        "gamma": worker.GAMMA,
        "epsilon_end": worker.EPSILON,
        "share": options.share,
        "capacity": worker.replay_capacity(options.copies),
    }
    config = kind.config_type(**settings)
    learner = created(kind, batched_game(options.game, options.device), config)
    trained = sum(own.numel() for own in learner.parameters() if own.requires_grad)
    with steps_of(learner, options.form) as step:

        def run(steps: int) -> None:
            for _ in range(steps):
                step()
            synchronise(learner.device)

        contract = worker.contract(options.copies, trained)
        worker.serve(contract, ["torch"], run, lambda: (learner.updates, learner.t * options.copies))


if __name__ == "__main__":
    main()
