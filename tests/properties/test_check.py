"""check(): each outcome, the report made of them, reproducibility, and what it leaves as it was."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from marlspec.errors import InputError
from marlspec.properties import Report, Verdict, check
from marlspec.properties.claims import claims_of
from marlspec.properties.isolation import isolated


@pytest.fixture(scope="module")
def total(spec, quick):
    return check(spec("sound", "total"), "vdn_mixer", **quick)


@pytest.fixture(scope="module")
def free_weights(spec, quick):
    return check(spec("broken", "mixer_mixer_monotone"), "mixer", **quick)


def without_times(report):
    record = report.to_json()
    for verdict in record["verdicts"]:
        del verdict["seconds"]
    return record


# --- outcomes ---------------------------------------------------------------------------------------------------------


def test_a_sound_target_is_proved_where_it_can_be_and_holds_elsewhere(total):
    outcomes = {verdict.claim_id: verdict.outcome for verdict in total.verdicts}
    assert [verdict.claim_id for verdict in total.verdicts] == [entry.id for entry in claims_of("vdn_mixer")]
    assert outcomes["mixer.monotone"] == outcomes["igm.containment"] == "proved"
    assert outcomes["vdn.additive"] in ("proved", "holds")
    assert all(outcomes[f"mixer.{name}"] == "holds" for name in ("finite", "deterministic", "batch", "every_agent"))
    assert total.ok
    assert total.exit_code == 0
    assert total.witnesses == ()


def test_every_verdict_that_stands_says_what_settled_it_on_how_many_inputs(total):
    for verdict in total.verdicts:
        assert verdict.method
        assert verdict.scope
        assert verdict.examples >= 100
        assert verdict.seconds > 0


def test_a_refutation_carries_its_witness(free_weights):
    verdict = free_weights.verdict("mixer.monotone")
    assert verdict.outcome == "refuted"
    assert not verdict.ok
    assert not free_weights.ok
    assert free_weights.exit_code == 1
    assert verdict.witness in free_weights.witnesses
    assert verdict.witness.redraw is not None, "the weights are positive until they are drawn anew"
    assert "falls from" in verdict.witness.computed
    assert ">=" in verdict.witness.required
    numbers = [*verdict.witness.case["utilities"], *verdict.witness.case["state"], verdict.witness.case["delta"]]
    assert all(abs(number) <= 2 for number in numbers), "a counterexample a reader can follow"


def test_a_claim_whose_precondition_does_not_hold_is_not_applicable_and_says_why(spec, quick):
    report = check(spec("sound", "leaky"), "mixer", settings={"slope": 0.0}, **quick)
    verdict = report.verdict("igm.equivalence")
    assert verdict.outcome == "not_applicable"
    assert "slope" in verdict.reason
    assert report.ok, "a claim that does not apply speaks against nobody"


def test_a_claim_that_requires_a_refuted_one_is_not_applicable(spec, quick):
    report = check(spec("broken", "mixer_mixer_finite"), "mixer", **quick)
    assert report.verdict("mixer.finite").outcome == "refuted"
    verdict = report.verdict("mixer.monotone")
    assert (verdict.outcome, verdict.reason) == ("not_applicable", "mixer.finite is refuted; mend that first.")


def test_no_applicable_claim_at_all_is_an_error(spec):
    options = {"sizes": [(2, 2, 2)], "examples": 48, "claims": ["igm.equivalence"]}
    report = check(spec("sound", "summed_value"), "joint_value", **options)
    assert report.exit_code == 2
    assert "no claim applies" in report.verdict("igm.equivalence").reason
    assert "min_slope" in report.verdict("igm.equivalence").reason


def test_an_error_outranks_a_refutation(spec, quick):
    report = check(spec("hostile", "wrong_at_one_row_and_falling"), "mixer", **quick)
    assert {"error", "refuted"} <= {verdict.outcome for verdict in report.verdicts}
    assert report.exit_code == 2


def test_fewer_than_100_distinct_inputs_support_no_verdict(spec):
    options = {"sizes": [(2, 3)], "examples": 1, "claims": ["igm.containment"]}
    report = check(spec("sound", "total_in_numpy"), "mixer", **options)
    verdict = report.verdict("igm.containment")
    assert verdict.outcome == "error"
    assert 0 < verdict.examples < 100
    assert f"only {verdict.examples} distinct inputs" in verdict.reason
    assert "raise examples (now 1)" in verdict.reason


def test_distinct_inputs_are_counted_and_not_batches(spec):
    """A mixer of one agent and one entry of state has few lattice inputs: many draws, fewer distinct ones."""
    small = check(spec("sound", "total"), "mixer", sizes=[(1, 1)], examples=40, claims=["mixer.finite"])
    large = check(spec("sound", "total"), "mixer", sizes=[(5, 4)], examples=40, claims=["mixer.finite"])
    assert small.verdicts[0].examples < large.verdicts[0].examples <= 20 * 128


@pytest.mark.parametrize("name", ["mixer_mixer_finite", "mixer_mixer_deterministic"])
def test_nan_and_changing_answers_are_refutations(spec, quick, name):
    report = check(spec("broken", name), "mixer", **quick)
    assert report.exit_code == 1
    assert report.verdict(f"mixer.{name.rpartition('_')[2]}").outcome == "refuted"


# --- the report -------------------------------------------------------------------------------------------------------

PROVED, HOLDS = Verdict("mixer.monotone", "proved", examples=100), Verdict("mixer.finite", "holds", examples=1000)
REFUTED, ERROR = Verdict("mixer.batch", "refuted", examples=30), Verdict("mixer.pure", "error")
KNOWN = Verdict("mixer.batch", "refuted", expected="known", examples=30)
OMITTED = Verdict("igm.equivalence", "not_applicable")


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((PROVED, HOLDS), 0),
        ((PROVED, OMITTED), 0),
        ((PROVED, KNOWN), 0),
        ((PROVED, REFUTED, HOLDS), 1),
        ((KNOWN, REFUTED), 1),
        ((REFUTED, ERROR), 2),
        ((ERROR, HOLDS), 2),
        ((ERROR, REFUTED, PROVED), 2),
    ],
)
def test_exit_code(verdicts, code):
    report = Report("t", "mixer", verdicts, "float64", ("n_agents=2 state_size=3",), 48, 0)
    assert report.exit_code == code
    assert report.ok == (code == 0)


def test_summary_counts_claims_outcomes_and_inputs():
    report = Report("t", "mixer", (PROVED, HOLDS, REFUTED, ERROR, OMITTED), "float64", (), 48, 0)
    text = "4 of 5 claims ran: 1 proved, 1 holds, 1 refuted, 1 not applicable, 1 error; 1,130 inputs tried"
    assert report.summary() == text


def test_summary_of_a_real_report_adds_up(total):
    assert f"{len(total.verdicts)} of {len(total.verdicts)} claims ran" in total.summary()
    assert f"{sum(verdict.examples for verdict in total.verdicts):,} inputs tried" in total.summary()


def test_verdict_of_an_unknown_claim(total):
    with pytest.raises(InputError, match=r"has no claim 'mixer\.none'.*mixer\.finite"):
        total.verdict("mixer.none")


def test_json_has_the_schema_and_every_field(free_weights):
    record = json.loads(json.dumps(free_weights.to_json()))
    assert record["schema"] == "marlspec.report/1"
    assert (record["role"], record["seed"], record["examples"], record["dtype"]) == ("mixer", 0, 48, "float64")
    assert (record["ok"], record["exit_code"]) == (False, 1)
    assert record["sizes"] == ["n_agents=2 state_size=3"]
    entry = next(verdict for verdict in record["verdicts"] if verdict["claim_id"] == "mixer.monotone")
    fields = {"claim_id", "outcome", "method", "scope", "examples", "seconds", "witness", "reason", "expected"}
    assert fields <= set(entry)
    assert entry["witness"]["schema"] == "marlspec.witness/1"
    assert next(verdict for verdict in record["verdicts"] if verdict["outcome"] == "holds")["witness"] is None


# --- arguments --------------------------------------------------------------------------------------------------------


def test_settings_reach_the_factory_and_the_report(spec, quick):
    options = {**quick, "claims": ["mixer.monotone"]}
    assert check(spec("sound", "leaky"), "mixer", **options).exit_code == 0
    falling = check(spec("sound", "leaky"), "mixer", settings={"slope": -0.5}, **options)
    assert falling.exit_code == 1
    assert falling.settings == falling.witnesses[0].settings == {"slope": -0.5}
    unknown = check(spec("sound", "leaky"), "mixer", settings={"slop": 1}, **options)
    assert unknown.exit_code == 2
    assert "slop" in unknown.verdicts[0].reason


def test_the_target_is_built_at_the_sizes_and_at_no_others(quick):
    asked = set()

    def factory(n_agents, state_size):
        asked.add((n_agents, state_size))
        return lambda utilities, state: utilities.sum(-1)

    report = check(factory, "mixer", sizes=[(4, 2), (1, 3)], examples=48, claims=["mixer.finite", "mixer.monotone"])
    assert asked == {(4, 2), (1, 3)}
    assert report.sizes == ("n_agents=4 state_size=2", "n_agents=1 state_size=3")


def test_the_default_sizes_have_one_agent_and_five_among_them():
    asked = set()

    def factory(n_agents, state_size):
        asked.add((n_agents, state_size))
        return lambda utilities, state: utilities.sum(-1)

    check(factory, "mixer", examples=48, claims=["mixer.finite"])
    assert {n for n, _ in asked} >= {1, 2, 3, 5}


def test_a_joint_value_is_judged_at_three_sizes_and_called_with_integer_actions():
    seen = []

    def factory(n_agents, n_actions, state_size):
        def value(utilities, actions, state):
            seen.append((utilities.shape[1:], actions.dtype, int(actions.max()), state.shape[1]))
            return utilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1).sum(-1)

        return value

    report = check(factory, "joint_value", sizes=[(3, 2, 1)], examples=48, claims=["joint_value.finite"])
    assert report.ok
    assert {entry[:2] for entry in seen} == {((3, 2), torch.int64)}
    assert {entry[3] for entry in seen} == {1}
    assert max(entry[2] for entry in seen) == 1


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("total", "float64"),
        ("total_in_float32", "float32"),
        ("total_in_numpy", "float64 (numpy)"),
        ("total_in_numpy_float32", "float32 (numpy)"),
    ],
)
def test_the_report_says_in_which_arithmetic_it_judged(spec, quick, name, dtype):
    report = check(spec("sound", name), "vdn_mixer", **quick)
    assert report.dtype == dtype
    assert report.ok, [verdict for verdict in report.verdicts if not verdict.ok]


def test_clipped_weights_are_proved_as_given_and_refuted_as_an_architecture(spec, quick):
    options = {**quick, "claims": ["mixer.monotone"]}
    given_ = check(spec("sound", "Clipped"), "mixer", parameters="given", **options).verdicts[0]
    assert (given_.outcome, given_.scope) == ("proved", "these parameters")
    redrawn = check(spec("sound", "Clipped"), "mixer", parameters="redrawn", **options).verdicts[0]
    assert redrawn.outcome == "refuted"
    assert redrawn.witness.redraw is not None


def test_claims_are_judged_in_the_order_of_the_registry(spec, quick):
    report = check(spec("sound", "total"), "mixer", claims=["mixer.pure", "mixer.finite"], **quick)
    assert [verdict.claim_id for verdict in report.verdicts] == ["mixer.finite", "mixer.pure"]


# --- expected refutations ---------------------------------------------------------------------------------------------


def test_an_expected_refutation_is_ok_and_keeps_its_witness(spec, quick):
    expected = {"mixer.monotone": "clipped by the training loop"}
    report = check(spec("sound", "Clipped"), "mixer", expected=expected, claims=["mixer.monotone"], **quick)
    verdict = report.verdict("mixer.monotone")
    assert (verdict.outcome, verdict.expected, verdict.ok) == ("refuted", "clipped by the training loop", True)
    assert verdict.witness is not None
    assert report.exit_code == 0


def test_an_expected_refutation_excuses_no_other(spec, quick):
    report = check(spec("broken", "mixer_igm_containment"), "mixer", expected={"mixer.monotone": "known"}, **quick)
    assert report.verdict("mixer.monotone").ok
    assert not report.verdict("igm.containment").ok
    assert report.exit_code == 1


def test_an_unexpected_success_is_an_error(spec, quick):
    expected = {"mixer.monotone": "see issue 5"}
    report = check(spec("sound", "total"), "mixer", expected=expected, claims=["mixer.monotone"], **quick)
    verdict = report.verdict("mixer.monotone")
    assert verdict.outcome == "error"
    assert "see issue 5" in verdict.reason
    assert "proved" in verdict.reason
    assert report.exit_code == 2


def test_expecting_the_refutation_of_a_claim_that_does_not_apply_is_an_error(spec):
    expected = {"igm.equivalence": "known"}
    options = {"sizes": [(2, 2, 2)], "examples": 48, "claims": ["joint_value.finite", "igm.equivalence"]}
    report = check(spec("sound", "summed_value"), "joint_value", expected=expected, **options)
    assert report.verdict("igm.equivalence").outcome == "error"


def test_an_error_in_the_target_is_no_expected_refutation(spec, quick):
    expected = {"mixer.monotone": "known"}
    report = check(spec("hostile", "column"), "mixer", expected=expected, claims=["mixer.monotone"], **quick)
    assert report.verdicts[0].outcome == "error"
    assert "shape" in report.verdicts[0].reason


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"mixer.monoton": "typing error"}, "'mixer.monoton' is expected, but that claim is not among those judged"),
        ({"vdn.additive": "of another role"}, "not among those judged"),
        ({"mixer.monotone": ""}, "needs a reason"),
        ({"mixer.monotone": "  "}, "needs a reason"),
    ],
)
def test_expectations_are_strict(spec, quick, expected, words):
    with pytest.raises(InputError, match=words):
        check(spec("sound", "total"), "mixer", expected=expected, **quick)


# --- the same result for everyone -------------------------------------------------------------------------------------

SCRIPT = """
import json, sys, torch
from marlspec.properties import check
torch.set_num_threads(1)
for role, target in zip(sys.argv[1::2], sys.argv[2::2]):
    record = check(target, role, sizes=[(2, 3)], examples=48).to_json()
    for verdict in record["verdicts"]:
        del verdict["seconds"]
    print(json.dumps(record))
"""


def test_same_seed_same_report_in_this_process(spec, quick, total, free_weights):
    assert without_times(check(spec("sound", "total"), "vdn_mixer", **quick)) == without_times(total)
    torch.rand(3), np.random.rand(3), random.random()
    assert without_times(check(free_weights.target, "mixer", **quick)) == without_times(free_weights)


def test_same_seed_same_report_in_another_process(total, free_weights, tmp_path):
    """Another hash seed changes nothing, nor do other modules: hypothesis draws what stands in a user's code."""
    numbers = random.Random(0)
    (tmp_path / "many_constants.py").write_text(
        f"NUMBERS = {[numbers.randrange(101, 2**31) for _ in range(300)]}\n"
        f"FRACTIONS = {[numbers.randrange(-6400, 6400) / 64 for _ in range(300)]}\n"
        f"WORDS = {[numbers.randbytes(size) for size in range(4, 33) for _ in range(5)]}\n"
    )
    arguments = ["vdn_mixer", total.target, "mixer", free_weights.target]
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    run = subprocess.run(
        [sys.executable, "-c", "import many_constants\n" + SCRIPT, *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    records = [json.loads(line) for line in run.stdout.splitlines()]
    assert records == [without_times(total), without_times(free_weights)]


def test_another_seed_draws_other_inputs_and_finds_the_same(spec, quick):
    def inputs(seed):
        batches = []

        def factory(n_agents, state_size):
            return lambda utilities, state: batches.append(utilities.clone()) or utilities.sum(-1)

        assert check(factory, "mixer", seed=seed, claims=["mixer.finite"], **quick).ok
        return torch.cat(batches)

    first = inputs(0)
    assert torch.equal(first, inputs(0))
    assert not torch.equal(first, inputs(7))
    report = check(spec("broken", "mixer_mixer_monotone"), "mixer", seed=7, **quick)
    assert (report.seed, report.witnesses[0].seed, report.exit_code) == (7, 7, 1)


# --- what is left as it was -------------------------------------------------------------------------------------------


STATES = """
import itertools, random, sys, numpy as np, torch
from marlspec.properties import check
torch.set_num_threads(1)

def states():
    kind, key, *rest = np.random.get_state()
    return {
        "python": random.getstate(), "numpy": (kind, key.tolist(), *rest), "torch": torch.get_rng_state().tolist(),
        "default type": torch.get_default_dtype(), "grad mode": torch.is_grad_enabled(), "numpy errors": np.geterr(),
        "deterministic": torch.are_deterministic_algorithms_enabled(), "threads": torch.get_num_threads(),
    }

claims = ["mixer.finite", "mixer.deterministic", "mixer.monotone"]
for target, dtype, grad in itertools.product(sys.argv[1:], (torch.float32, torch.float64), (True, False)):
    random.seed(5), np.random.seed(6), torch.manual_seed(7), torch.set_default_dtype(dtype)
    torch.set_grad_enabled(grad)
    before = states()
    report = check(target, "mixer", sizes=[(2, 3)], examples=40, claims=claims)
    print(report.exit_code, [name for name, value in states().items() if value != before[name]])
"""


def test_global_state_is_left_as_it_was(spec):
    """In a process of its own: the run-time type checks of these tests draw from Python's generator."""
    targets = [spec("sound", "moody"), spec("hostile", "drawing_and_raising"), spec("broken", "mixer_mixer_monotone")]
    run = subprocess.run([sys.executable, "-c", STATES, *targets], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [f"{code} []" for code in (0, 2, 1) for _ in range(4)]


def test_the_random_state_of_other_devices_is_restored(monkeypatch):
    states, restored = [torch.ones(4, dtype=torch.uint8)], []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.append)
    with isolated(3):
        assert restored == []
    assert restored == [states]


def test_a_seeded_caller_goes_on_with_the_same_numbers(spec, quick):
    torch.manual_seed(3)
    undisturbed = torch.rand(4)
    torch.manual_seed(3)
    check(spec("broken", "mixer_mixer_deterministic"), "mixer", **quick)
    assert torch.equal(torch.rand(4), undisturbed)


class Handed(nn.Module):
    """A user's own network, with parts in either mode, that one factory hands over at every call."""

    def __init__(self):
        super().__init__()
        self.weights, self.bias = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.0), nn.Linear(4, 1))
        self.frozen = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.bias.eval()
        self.weights.weight.grad = torch.ones(2, 3)

    def forward(self, utilities, state):
        return (utilities * self.weights(state)).sum(-1) + self.bias(state).squeeze(-1) + self.frozen


def condition(module):
    return (
        {name: value.tolist() for name, value in module.state_dict().items()},
        {name: (p.requires_grad, None if p.grad is None else p.grad.tolist()) for name, p in module.named_parameters()},
        {name: part.training for name, part in module.named_modules()},
    )


def test_a_module_that_the_factory_hands_over_is_left_as_it_was(quick):
    module = Handed().double()
    before = condition(module)
    report = check(lambda n_agents, state_size: module, "mixer", **quick)
    assert report.exit_code == 1, "parameters were drawn anew, or there would be nothing to restore"
    assert condition(module) == before


# --- inside a hypothesis test of the user's own -----------------------------------------------------------------------


@given(slope=st.sampled_from([0.5, 1.0]))
@settings(max_examples=2, deadline=None, database=None)
def test_the_plain_engine_works_inside_given(slope):
    from torch.nn import functional

    def factory(n_agents, state_size):
        return lambda utilities, state: functional.leaky_relu(utilities, slope).sum(-1)

    report = check(factory, "mixer", engine="plain", sizes=[(2, 3)], examples=48)
    assert report.ok, report.summary()


@given(st.just(0))
@settings(max_examples=1, deadline=None, database=None)
def test_the_plain_engine_refutes_inside_given(zero):
    def factory(n_agents, state_size):
        return lambda utilities, state: utilities.sum(-1) - 3 * utilities[:, 0]

    report = check(factory, "mixer", engine="plain", sizes=[(2, 3)], examples=48, claims=["mixer.monotone"])
    assert report.exit_code == 1


@given(st.just(0))
@settings(max_examples=1, deadline=None, database=None)
def test_hypothesis_inside_given_is_refused(zero):
    with pytest.raises(InputError, match='inside a hypothesis test; pass engine="plain"'):
        check(lambda n_agents, state_size: lambda utilities, state: utilities.sum(-1), "mixer")


def test_the_plain_engine_gives_the_same_outcomes(spec, quick, total):
    plain = check(spec("sound", "total"), "vdn_mixer", engine="plain", **quick)
    assert [v.outcome for v in plain.verdicts] == [v.outcome for v in total.verdicts]


# --- biases of both signs, where parameters cannot be drawn anew ------------------------------------------------------


def _biased(bias):
    def factory(n_agents, state_size):
        def mixer(utilities, state):
            inner = utilities.sum(-1) - 1
            return np.where(inner > 0, inner, np.expm1(np.minimum(inner, 0))) + bias(state)

        mixer.arrays = "numpy"
        return mixer

    return factory


def test_a_bias_that_is_one_sided_at_one_size_alone_is_not_refuted_where_parameters_are_fixed():
    """Free biases of one state feature are one-sided by chance in a share of all draws."""
    lucky = _biased(lambda state: state.sum(-1) + 1 if state.shape[1] > 1 else np.square(state).sum(-1) + 2)
    report = check(lucky, "qmix_mixer", examples=40, claims=["qmix.bias_sign"], seed=0)
    assert report.verdicts[0].outcome == "holds"


def test_a_bias_that_is_one_sided_at_every_size_is_refuted_where_parameters_are_fixed():
    report = check(
        _biased(lambda state: np.square(state).sum(-1) + 2), "qmix_mixer", examples=40, claims=["qmix.bias_sign"]
    )
    (witness,) = report.witnesses
    assert "never negative" in witness.computed


def test_at_one_size_a_one_sided_bias_says_nothing_where_parameters_are_fixed():
    """What was trained, or drawn once, may well have biases of one sign that could have had the other."""
    one_sided = _biased(lambda state: np.square(state).sum(-1) + 2)
    claims = ["mixer.finite", "qmix.bias_sign"]
    report = check(one_sided, "qmix_mixer", examples=40, claims=claims, sizes=[(3, 2)])
    [verdict] = [own for own in report.verdicts if own.claim_id == "qmix.bias_sign"]
    assert verdict.outcome == "not_applicable"
    assert "more than one size" in verdict.reason
