"""Adapters: PettingZoo's parallel environments as targets of the judge.

    marlspec check examples/pettingzoo_games.py:simple_spread --role game
    marlspec check examples/pettingzoo_games.py:pursuit --role game --examples 60

They need the packages mpe2 (the particle environments) and pettingzoo with pygame-ce; pistonball needs pymunk as well.
No window is opened. `--set max_cycles=10` and other settings reach the environment. What came out stands in
docs/findings.md.
"""

import importlib
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

Factory = Callable[..., Any]


def _environment(module: str) -> Factory:
    """Return a factory of one module's parallel_env(); the module is imported when it is first called."""

    def factory(**settings: Any) -> Any:
        return importlib.import_module(module).parallel_env(**settings)

    return factory


simple = _environment("mpe2.simple_v3")
simple_adversary = _environment("mpe2.simple_adversary_v3")
simple_crypto = _environment("mpe2.simple_crypto_v3")
simple_push = _environment("mpe2.simple_push_v3")
simple_reference = _environment("mpe2.simple_reference_v3")
simple_speaker_listener = _environment("mpe2.simple_speaker_listener_v4")
simple_spread = _environment("mpe2.simple_spread_v3")
simple_tag = _environment("mpe2.simple_tag_v3")
simple_world_comm = _environment("mpe2.simple_world_comm_v3")
simple_formation = _environment("mpe2.simple_formation_v1")
simple_line = _environment("mpe2.simple_line_v1")
collect_treasure = _environment("mpe2.collect_treasure_v1")
rock_paper_scissors = _environment("pettingzoo.classic.rps_v2")
cooperative_pong = _environment("pettingzoo.butterfly.cooperative_pong_v6")
knights_archers_zombies = _environment("pettingzoo.butterfly.knights_archers_zombies_v11")
pistonball = _environment("pettingzoo.butterfly.pistonball_v6")
pursuit = _environment("pettingzoo.sisl.pursuit_v5")
