"""Targets written from the roles' contracts alone, by somebody who had not read what the judge asks."""

from ..target import Target
from . import (
    counterfactual,
    exploration,
    learners,
    policies,
    policy_losses,
    replay,
    returns,
    target_networks,
    td_targets,
)

SUBJECTS = (
    td_targets,
    returns,
    counterfactual,
    policy_losses,
    policies,
    exploration,
    replay,
    target_networks,
    learners,
)
GOOD: tuple[Target, ...] = tuple(target for subject in SUBJECTS for target in subject.GOOD)
BAD: tuple[Target, ...] = tuple(target for subject in SUBJECTS for target in subject.BAD)
