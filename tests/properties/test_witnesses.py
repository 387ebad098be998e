"""Witnesses: written, read, and run again, on the target they are of and on one that was mended since."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from marlspec.errors import InputError
from marlspec.properties import check
from marlspec.properties.claims import CLAIMS, claims_of
from marlspec.properties.judge import replay
from marlspec.properties.roles import ROLES
from marlspec.properties.trial import TargetError
from marlspec.properties.verdicts import Witness, read_witness

from ..mutants import (
    counterfactual,
    counterfactual_critics,
    dynamics,
    equilibria,
    evaluation,
    exploration,
    learners,
    policies,
    policy_losses,
    returns,
    tabular,
    target_networks,
    td_targets,
)
from ..mutants import replay as replay_buffers

SIZES = {"joint_value": [(2, 2, 3)], "qmix_mixer": [(2, 3), (3, 2)]}  # biases in fixed parameters take two sizes
PROMISES = [
    (name, entry.id) for name, role in ROLES.items() for entry in claims_of(name) if role.axes and name in entry.roles
]
WITHOUT_SIZES = [name for name, role in ROLES.items() if not role.axes]
FAMILIES = (
    equilibria,
    evaluation,
    tabular,
    dynamics,
    td_targets,
    returns,
    counterfactual,
    counterfactual_critics,
    policy_losses,
    policies,
    exploration,
    replay_buffers,
    target_networks,
    learners,
)
BROKEN = [target for family in FAMILIES for target in family.BAD]


def round_trip(witness, path):
    path.write_text(json.dumps(witness.to_json()), encoding="utf-8")
    return read_witness(path)


@pytest.fixture(scope="module")
def falling(spec, quick):
    """A witness at parameters drawn anew."""
    report = check(spec("broken", "mixer_mixer_monotone"), "mixer", claims=["mixer.monotone"], **quick)
    return report.witnesses[0]


# --- every claim ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "claim_id"), PROMISES)
def test_every_claim_refutes_a_broken_target_and_its_witness_replays(spec, tmp_path, role, claim_id):
    """A new claim fails here until tests/targets/broken.py holds a target that it refutes."""
    target = spec("broken", f"{role}_{claim_id.replace('.', '_')}")
    report = check(target, role, sizes=SIZES.get(role, [(2, 3)]), examples=40, claims=[claim_id])
    verdict = report.verdict(claim_id)
    assert verdict.outcome == "refuted"
    witness = round_trip(verdict.witness, tmp_path / "witness.json")
    assert witness == verdict.witness
    again = replay(witness, target)
    assert again is not None
    assert again.required == witness.required
    if "deterministic" not in claim_id:  # those targets draw other numbers at every run
        assert again.computed == witness.computed
        assert again.case == witness.case


@pytest.mark.parametrize(("role", "claim_id"), PROMISES)
def test_no_claim_refutes_a_sound_target(spec, role, claim_id):
    name = {"joint_value": "summed_value", "vdn_mixer": "total", "mixer": "total"}.get(role)
    target = spec("sound", name) if name else "marlspec.properties.reference_targets:qmix_mixer"
    report = check(target, role, sizes=SIZES.get(role, [(2, 3)]), examples=48, claims=[claim_id])
    verdict = report.verdict(claim_id)
    assert verdict.witness is None
    assert verdict.outcome in ("proved", "holds") or "min_slope" in verdict.reason


def test_the_broken_targets_cover_the_registry():
    """The claims of roles without sizes have their broken targets in tests/mutants, and a kill matrix each."""
    elsewhere = {entry.id for role in WITHOUT_SIZES for entry in claims_of(role)}
    assert {claim_id for _, claim_id in PROMISES} | elsewhere == set(CLAIMS)


@pytest.mark.parametrize("role", WITHOUT_SIZES)
def test_a_witness_of_a_role_without_sizes_is_written_read_and_run_again(tmp_path, role):
    """Any broken target but own_generator, which draws other numbers at every run."""
    target = next(target for target in BROKEN if target.role == role and target.name != "own_generator")
    report = check(target.factory, role, fail_fast=True)
    (found,) = report.witnesses
    witness = round_trip(found, tmp_path / "witness.json")
    again = replay(witness, target.factory)
    assert again is not None
    assert (again.computed, again.required) == (witness.computed, witness.required)


# --- replay -----------------------------------------------------------------------------------------------------------


def test_a_witness_with_parameters_drawn_anew_replays_to_the_same_numbers(spec, falling, tmp_path):
    assert falling.redraw is not None
    again = replay(round_trip(falling, tmp_path / "witness.json"), spec("broken", "mixer_mixer_monotone"))
    assert (again.computed, again.required) == (falling.computed, falling.required)


def test_a_witness_with_settings_replays_with_them(spec, quick):
    options = {**quick, "claims": ["mixer.monotone"]}
    target = spec("sound", "leaky")
    witness = check(target, "mixer", settings={"slope": -0.5}, **options).witnesses[0]
    assert replay(witness, target).computed == witness.computed
    assert replay(replace(witness, settings={"slope": 0.5}), target) is None


def test_a_witness_of_the_given_parameters_replays_at_them(quick):
    """Whether parameters were drawn anew is part of the case: at others, the agent is not left out."""

    class OneWeightLost(nn.Module):
        def __init__(self, n_agents, state_size):
            super().__init__()
            self.weight = nn.Parameter(torch.arange(float(n_agents)))

        def forward(self, utilities, state):
            return utilities @ self.weight

    options = {**quick, "claims": ["mixer.every_agent"]}
    assert check(OneWeightLost, "mixer", **options).ok
    witness = check(OneWeightLost, "mixer", parameters="given", **options).witnesses[0]
    assert witness.case["agent"] == 0
    assert replay(witness, OneWeightLost).computed == witness.computed


MENDED = """
import torch

def make(n_agents, state_size):
    return lambda utilities, state: utilities{}.sum(-1)
"""


def test_a_mended_target_is_no_longer_refuted(tmp_path, quick):
    path = tmp_path / "mine.py"
    path.write_text(MENDED.format(".neg()"), encoding="utf-8")
    report = check(f"{path}:make", "mixer", **quick)
    assert {"mixer.monotone", "igm.containment"} == {witness.claim_id for witness in report.witnesses}
    assert all(replay(witness, f"{path}:make") is not None for witness in report.witnesses)
    path.write_text(MENDED.format(""), encoding="utf-8")
    assert [replay(witness, f"{path}:make") for witness in report.witnesses] == [None, None]


def test_a_witness_of_another_target_is_refused(spec, falling):
    with pytest.raises(InputError, match=r"found on .*mixer_mixer_monotone.*, not on .*total.*the field 'target'"):
        replay(falling, spec("sound", "total"))


def test_a_renamed_target_is_replayed_by_naming_it_in_the_witness(spec, falling):
    total = spec("sound", "total")
    assert replay(replace(falling, target=total), total) is None


def test_a_target_that_now_raises_is_an_error_and_not_mended(spec, falling):
    column = spec("hostile", "column")
    with pytest.raises(TargetError, match="shape"):
        replay(replace(falling, target=column), column)


def test_replay_leaves_a_handed_module_as_it_was(quick):
    class Free(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

        def forward(self, utilities, state):
            return utilities @ self.weight

    module = Free().double()

    def factory(n_agents, state_size):
        return module

    witness = check(factory, "mixer", claims=["mixer.monotone"], **quick).witnesses[0]
    assert witness.redraw is not None
    assert replay(witness, factory).computed == witness.computed
    assert module.weight.tolist() == [1.0, 1.0]


def test_replay_leaves_the_random_state_as_it_was(spec, falling):
    before = torch.get_rng_state()
    replay(falling, spec("broken", "mixer_mixer_monotone"))
    assert torch.equal(torch.get_rng_state(), before)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_witness_says_everything_in_words(falling):
    lines = falling.lines()
    assert lines[0].startswith("size: n_agents = 2, state_size = 3; parameters drawn anew (normal, scale ")
    assert lines[0].endswith(f"seed {int(falling.redraw['seed'])})"), "no digit of the seed is lost"
    assert [line.split(" ")[0] for line in lines[1:]] == [*falling.case, "computed:", "required:"]


def test_a_long_list_is_cut_short_in_words_and_kept_in_the_file(falling, tmp_path):
    long = replace(falling, case={"utilities": [0.25] * 40})
    assert "40 entries" in long.lines()[1]
    assert round_trip(long, tmp_path / "witness.json") == long


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "marlspec.witness/0"}, "is no witness: its schema is 'marlspec.witness/0', expected"),
        ({"case": None}, "'case' must be an object, not null"),
        ({"size": [2, 3]}, r"'size' must be an object, not \[2, 3\]"),
        ({"size": {"n_agents": "two", "state_size": 3}}, "'size' must hold integers"),
        ({"settings": "none"}, "'settings' must be an object"),
        ({"seed": "0"}, "'seed' must be an integer"),
        ({"redraw": 5}, "'redraw' must be an object or null"),
        ({"redraw": {"seed": 1}}, "'redraw' must hold the numbers seed and scale"),
        ({"claim_id": 7}, "'claim_id' must be text"),
        ({"target": None}, "'target' must be text"),
        ({"surplus": 1}, "is no complete witness.*surplus"),
    ],
)
def test_a_malformed_witness_is_refused(falling, tmp_path, change, words):
    path = tmp_path / "witness.json"
    path.write_text(json.dumps({**falling.to_json(), **change}), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_witness(path)


def test_an_incomplete_witness_is_refused(falling, tmp_path):
    record = falling.to_json()
    del record["case"]
    path = tmp_path / "witness.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match=r"witness\.json is no complete witness.*case"):
        read_witness(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", "is no witness: its schema is 'list'"),
        ("{}", "its schema is None"),
        ("{", "is not JSON"),
        ("", "JSON"),
    ],
)
def test_a_file_that_is_no_witness_is_refused(tmp_path, text, words):
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_witness(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the witness .*none\.json: No such file"):
        read_witness(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"claim_id": "mixer.none"}, "no claim has the id 'mixer.none'"),
        ({"claim_id": "vdn.additive"}, "the role 'mixer' does not make"),
        ({"role": "none"}, "no role is named 'none'"),
        ({"case": {}}, "case does not fit the claim 'mixer.monotone'"),
        ({"case": {"utilities": "a", "state": [0], "agent": 0, "delta": 1}}, "case does not fit"),
        ({"case": {"utilities": [0, 0], "state": [0, 0, 0], "agent": 9, "delta": 1}}, "case does not fit"),
        ({"case": {"utilities": [0, 0], "state": [0, 0, 0], "agent": None, "delta": 1}}, "case does not fit"),
        ({"size": {"n_agents": 2}}, r"a size of the role 'mixer' is .*; got \[2, 0\]"),
        ({"size": {"n_agents": 2, "state_size": -3}}, r"got \[2, -3\]"),
        ({"seed": -1}, "seed must be an integer from 0"),
    ],
)
def test_a_witness_that_fits_nothing_is_refused(spec, falling, change, words):
    witness = Witness.from_json({**falling.to_json(), **change}, "the witness")
    with pytest.raises(InputError, match=words):
        replay(witness, spec("broken", "mixer_mixer_monotone"))
