"""The search for small counterexamples, and calls of targets without sizes."""

import numpy as np
import pytest
import torch

from marlspec.properties.cases import MOST_STEPS, counterexample, search, shrunk, simpler_numbers, without
from marlspec.properties.procedure import array_of, procedure, truth_of
from marlspec.properties.roles import Target
from marlspec.properties.trial import TargetError, Trial


def trial(factory=lambda: lambda x: x, examples=200, seed=0):
    return Trial(Target("here", factory), "nash_check", ({},), examples=examples, seed=seed)


def numbers(generator, k):
    return {"x": generator.integers(-50, 50, 3).tolist(), "y": float(generator.integers(0, 9)) / 4}


def too_large(case):
    return counterexample(case, "more", "less") if max(case["x"]) > 10 else None


def test_the_first_failing_case_is_made_small():
    finding = search(trial(), numbers, too_large, method="draws")
    assert finding.counterexample is not None
    assert sorted(finding.counterexample.case["x"])[:2] == [0, 0]
    assert 10 < max(finding.counterexample.case["x"]) <= 50
    assert finding.counterexample.case["y"] == 0


def test_what_never_fails_counts_distinct_cases():
    finding = search(trial(), lambda generator, k: {"k": k % 7}, lambda case: None, method="draws")
    assert finding.counterexample is None
    assert finding.examples == 7


def test_fixed_cases_come_first_and_the_same_seed_draws_the_same():
    seen = []
    search(trial(), numbers, seen.append, method="draws", always=[{"x": [1], "y": 0}])
    again = []
    search(trial(), numbers, again.append, method="draws", always=[{"x": [1], "y": 0}])
    other = []
    search(trial(), numbers, other.append, method="draws", key="another claim")
    assert seen == again
    assert seen[0] == {"x": [1], "y": 0}
    assert len(seen) == 201
    assert seen[1:] != other


def test_simplifying_ends_where_every_step_still_fails():
    endless = counterexample({"x": 0}, "", "")
    steps = []

    def test(case):
        steps.append(case)
        return endless

    shrunk({"x": 0}, endless, test, lambda case: iter([{"x": case["x"] + 1}]))
    assert len(steps) == MOST_STEPS


def test_a_simpler_case_that_the_target_cannot_take_is_passed_over():
    def test(case):
        if case["x"] == 0:
            raise TargetError("not this one")
        return counterexample(case, "", "")

    found = shrunk({"x": 40}, counterexample({"x": 40}, "", ""), test, simpler_numbers)
    assert found.case == {"x": 1}


def test_simpler_numbers_change_one_number_and_keep_its_kind():
    candidates = list(simpler_numbers({"a": [3, [0.75]], "flag": True, "name": "n"}))
    assert {"a": [0, [0.75]], "flag": True, "name": "n"} in candidates
    assert {"a": [3, [0.0]], "flag": True, "name": "n"} in candidates
    assert all(type(case["a"][0]) is int and type(case["a"][1][0]) is float for case in candidates)
    assert all(case["flag"] is True and case["name"] == "n" for case in candidates)


def test_without_leaves_a_slice_out_of_every_named_array():
    case = {"table": [[1, 2], [3, 4]], "mix": [5, 6], "kept": [7, 8]}
    assert without(case, {"table": [0, 1], "mix": [0]}, 1) == {"table": [[1]], "mix": [5], "kept": [7, 8]}


def test_a_target_gets_copies_in_the_arrays_that_it_asks_for():
    def factory():
        def kinds(array, nested, number):
            return [type(array), type(nested[0]), number]

        kinds.arrays = "torch"
        return kinds

    target = procedure(trial(factory))
    assert target(np.zeros(2), [np.zeros(1)], 3) == [torch.Tensor, torch.Tensor, 3]
    assert target.declared("arrays", None) == "torch"
    assert target.declared("absent", "default") == "default"


@pytest.mark.parametrize("nested", [False, True])
def test_a_target_that_writes_into_its_arguments_is_an_error(nested):
    def factory():
        def write(values):
            (values[0] if nested else values)[0] = 1

        return write

    values = np.zeros(2)
    with pytest.raises(TargetError, match="argument 0"):
        procedure(trial(factory))([values] if nested else values)
    assert (values == 0).all()


def test_what_the_target_or_its_factory_raises_is_an_error():
    def factory():
        return lambda x: 1 / 0

    with pytest.raises(TargetError, match="ZeroDivisionError"):
        procedure(trial(factory))(1)
    with pytest.raises(TargetError, match="as factory"):
        procedure(trial(lambda: {}["missing"]))
    with pytest.raises(TargetError, match="cannot be called"):
        procedure(trial(lambda: 3))


def test_results_are_read_as_arrays_and_truth_values():
    assert array_of([[1, 2]], (1, 2), "it").tolist() == [[1.0, 2.0]]
    assert array_of(torch.ones(2, requires_grad=True), (2,), "it").tolist() == [1.0, 1.0]
    assert truth_of(np.bool_(True), "it") is True
    assert truth_of(torch.tensor(False), "it") is False
    with pytest.raises(TargetError, match=r"shape \[2\]; return shape \[3\]"):
        array_of([1, 2], (3,), "it")
    with pytest.raises(TargetError, match="cannot be read as numbers"):
        array_of([[1], [2, 3]], (2,), "it")
    with pytest.raises(TargetError, match="return True or False"):
        truth_of(1, "it")


def test_a_role_without_sizes_refuses_sizes():
    from marlspec.errors import InputError
    from marlspec.properties import check

    with pytest.raises(InputError, match="has no sizes"):
        check(lambda: lambda payoffs, profile, epsilon: True, "nash_check", sizes=[(2, 3)])
