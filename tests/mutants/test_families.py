"""What holds of every family of mutants and correct variants: names, descriptions, and a mutant for each claim."""

import pytest

from marlspec.properties.claims import claims_of

from . import (
    counterfactual,
    counterfactual_critics,
    dynamics,
    evaluation,
    exploration,
    learners,
    policies,
    policy_losses,
    replay,
    returns,
    tabular,
    target_networks,
    td_targets,
)

# Those whose mutants name the claim that they break; mixers, joint values and solvers name what they break in words.
FAMILIES = (
    counterfactual,
    counterfactual_critics,
    dynamics,
    evaluation,
    exploration,
    learners,
    policies,
    policy_losses,
    replay,
    returns,
    tabular,
    target_networks,
    td_targets,
)
BAD = [target for family in FAMILIES for target in family.BAD]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__.rpartition(".")[2])


@every_family
def test_names_are_unique_and_descriptions_whole(family):
    targets = [*family.BAD, *family.GOOD]
    assert len({(target.role, target.name) for target in targets}) == len(targets)
    assert all(target.edit.endswith(".") for target in targets)


@every_family
def test_mutants_are_changes_of_correct_variants(family):
    assert {target.base for target in family.BAD} <= {target.name for target in family.GOOD}


@pytest.mark.parametrize("role", sorted({target.role for target in BAD}))
def test_each_claim_is_broken_by_a_mutant(role):
    assert {claim.id for claim in claims_of(role)} == {t.violation.promise for t in BAD if t.role == role}
