"""Targets written from the roles' contracts alone, by somebody who had not read what the judge asks."""

from ..target import Target
from . import (
    counterfactual,
    counterfactual_critics,
    cql_updates,
    exploration,
    learners,
    optimal_backups,
    policies,
    policy_losses,
    replay,
    returns,
    tabular_updates,
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
    counterfactual_critics,
    optimal_backups,
    tabular_updates,
    cql_updates,
)
GOOD: tuple[Target, ...] = tuple(target for subject in SUBJECTS for target in subject.GOOD)
ALL_BAD: tuple[Target, ...] = tuple(target for subject in SUBJECTS for target in subject.BAD)

# What these do is reported for what it is, an error of the target, and no counterexample.
WRITES = "the target wrote into its argument"
REPORTED = {
    "writes_into_values": WRITES,
    "clears_next_values": WRITES,
    "writes_into_the_policy": WRITES,
    "writes_into_logits": WRITES,
    "writes_into_utilities": WRITES,
    "clears_the_table": WRITES,
    "blanks_out_the_action": WRITES,
    "writes_into_the_table": WRITES,
    "writes_through_a_view": WRITES,
    "one_row_without_axis": "observations has shape [2, 2]; return shape [1, 2, 2]",
}
# Where no gradient of torch arrives, this claim does not apply, and the report says so.
NOT_SEEN = {"fixed_batch_size": "learner.mean"}

BAD = tuple(target for target in ALL_BAD if target.name not in REPORTED and target.name not in NOT_SEEN)
