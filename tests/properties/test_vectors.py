"""Vectors: written the same everywhere, passed by true functions, and failed by faulty ones exactly where flagged."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from math import expm1, inf

import numpy as np
import pytest

from marlspec.cli import run
from marlspec.errors import InputError
from marlspec.properties.vectors.drawn import Drawn
from marlspec.properties.vectors.functions import CLEAR, FINEST, TOLERANCES, result_of
from marlspec.properties.vectors.numbers import decoded
from marlspec.properties.vectors.verifying import compare
from marlspec.properties.vectors.writing import FUNCTIONS, SCHEMA_FILES, files, record_of, write_vectors

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "written"
    write_vectors(path)
    return path


@pytest.fixture(scope="module")
def records(folder):
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in FUNCTIONS}


def texts(value):
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [texts(entry) for entry in value]
    return repr(value) if isinstance(value, float) else value


def results_file(path, results, **more):
    path.write_text(json.dumps({"schema": "marlspec.results/1", "results": results, **more}))
    return path


def inputs_of(case, folder):
    return {name: decoded(value, folder, case["id"]) for name, value in case["inputs"].items()}


def computed(record, compute, folder):
    """The results of a function on all inputs of a file, as an implementation would find them there."""
    return {
        case["id"]: texts(np.asarray(result_of(compute, Inputs(inputs_of(case, folder))))) for case in record["cases"]
    }


class Inputs:
    def __init__(self, inputs):
        self.inputs = inputs


def flagged(record, flag):
    return {case["id"] for case in record["cases"] if flag in case["flags"]}


def failed(tally):
    return {failure.id for failure in tally.failed}


# --- what is written --------------------------------------------------------------------------------------------------


def test_the_files_are_the_same_in_every_run_and_process(folder):
    here = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    code = (
        "import json; from hashlib import sha256\n"
        "from marlspec.properties.vectors.writing import files\n"
        "print(json.dumps({name: sha256(content).hexdigest() for name, content in files().items()}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(process.stdout) == here


def test_drawn_numbers_follow_from_the_name_alone():
    block = sha256(b"a name 0").digest()
    words = [int.from_bytes(block[k : k + 4], "big") for k in (0, 4)]
    assert Drawn("a name").integers(-3, 96, (2, 1)).tolist() == [[word % 100 - 3] for word in words]
    assert Drawn("a name").distributions((3, 4)).sum(-1).tolist() == [1.0, 1.0, 1.0]
    assert set(np.abs(Drawn("b").quarters((50,), 1)).tolist()) == {0.0, 0.25, 0.5, 0.75, 1.0}


@pytest.mark.parametrize("name", [name for name, function in FUNCTIONS.items() if function.digits is not None])
def test_rounded_results_do_not_depend_on_the_last_bits(name):
    """Half a unit of the last printed digit is far from every number, so that a machine's own rounding cannot show."""
    function = FUNCTIONS[name]
    for case in function.cases:
        values = result_of(function.compute, case).ravel()
        for value in values[(values * FINEST) % 1 != 0]:
            for nudged in (value * (1 - 1e-14), value * (1 + 1e-14)):
                assert f"{nudged:.{function.digits}g}" == f"{value:.{function.digits}g}", (case.name, value)


@pytest.mark.parametrize("name", [name for name, function in FUNCTIONS.items() if function.digits is None])
def test_numbers_come_back_as_they_were(name, folder, records):
    function = FUNCTIONS[name]
    for case, written in zip(function.cases, records[name]["cases"], strict=True):
        required = decoded(written["required"], folder, case.name)
        assert required.tobytes() == function.required(case).tobytes()
        for key, value in inputs_of(written, folder).items():
            given = case.inputs[key]
            for back, own in zip(value, given, strict=True) if isinstance(given, list) else [(value, given)]:
                assert np.asarray(back).dtype.kind == np.asarray(own).dtype.kind
                assert np.array_equal(back, own)


def test_ids_are_unique_and_every_flag_stands_somewhere(records):
    ids = [case["id"] for record in records.values() for case in record["cases"]]
    assert len(ids) == len(set(ids)) > 190
    for name, record in records.items():
        assert record["function"] == name
        for flag in record["flags"]:
            assert flagged(record, flag), f"{name}: no case catches {flag}"
        for case in record["cases"]:
            assert set(case["inputs"]) == set(record["arguments"])


def test_large_arrays_are_in_safetensors(records, folder):
    named = [
        value["safetensors"]
        for record in records.values()
        for case in record["cases"]
        for value in case["inputs"].values()
        if isinstance(value, dict) and "safetensors" in value
    ]
    assert len(named) >= 5
    assert {entry["file"] for entry in named} == {path.name for path in folder.glob("*.safetensors")}


def test_files_follow_the_schema(records, tmp_path, folder):
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra dev")
    vectors, results = (
        jsonschema.Draft202012Validator(json.loads((folder / file).read_text())) for file in SCHEMA_FILES
    )
    for validator in (vectors, results):
        validator.check_schema(validator.schema)
    for record in records.values():
        vectors.validate({**record, "cases": [*record["cases"][:2], record["cases"][-1]]})
    good = {"schema": "marlspec.results/1", "results": {"vdn.mix/two": ["3.0"], "vdn.loss/one": {"error": "no loss"}}}
    results.validate(good)
    for bad in ({**good, "schema": "x"}, {**good, "results": {"vdn": [1]}}, {**good, "results": {"vdn.mix/two": None}}):
        with pytest.raises(jsonschema.ValidationError):
            results.validate(bad)
    with pytest.raises(jsonschema.ValidationError):
        vectors.validate({**records["vdn.mix"], "schema": "marlspec.vectors/9"})


# --- flags ------------------------------------------------------------------------------------------------------------


def test_the_true_functions_pass_every_case(records, folder, tmp_path):
    results = {}
    for name, record in records.items():
        results |= computed(record, FUNCTIONS[name].compute, folder)
    for against in (None, folder):
        comparison = compare(results_file(tmp_path / "results.json", results), against)
        assert comparison.exit_code == 0
        assert sum(len(tally.passed) for tally in comparison.tallies) == len(results)


@pytest.mark.parametrize("index", range(max(len(function.faults) for function in FUNCTIONS.values())))
def test_a_faulty_function_fails_exactly_the_cases_with_its_flag(index, records, folder, tmp_path):
    """The k-th fault of every function at once, its results in a file as of any implementation."""
    faults = {name: function.faults[index] for name, function in FUNCTIONS.items() if index < len(function.faults)}
    results = {}
    for name, fault in faults.items():
        results |= computed(records[name], fault.compute, folder)
    comparison = compare(results_file(tmp_path / "results.json", results), folder)
    assert comparison.exit_code == 1
    for tally in comparison.tallies:
        if tally.function in faults:
            flag = faults[tally.function].flag
            assert failed(tally) == flagged(records[tally.function], flag), (tally.function, flag)
            assert flag in tally.suspects


def test_faults_are_clearly_off_where_flagged_and_nowhere_else():
    """No fault's result is so close to the required one that precision would decide."""
    for name, function in FUNCTIONS.items():
        for case in function.cases:
            required = function.required(case)
            for fault in function.faults:
                value = result_of(fault.compute, case)
                assert value.shape == required.shape, (name, case.name, fault.flag)
                if required.dtype == np.float64:
                    off = np.max(np.abs(value - required) / (1 + np.abs(required)), initial=0.0)
                    assert off <= TOLERANCES["float64"] or off >= CLEAR, (name, case.name, fault.flag, off)


# --- implementations that know the files alone --------------------------------------------------------------------


def numbers(value):
    """Nested lists of numbers from a file's JSON, without marlspec; large arrays are not read."""
    if isinstance(value, dict):
        return numbers(value["data"])
    if isinstance(value, list):
        return [numbers(entry) for entry in value]
    return float(value) if isinstance(value, str) else value


def vdn_target(reward, terminated, next_utilities, gamma, keep_going=False):
    return [
        r if ends and not keep_going else r + gamma * sum(max(own) for own in q)
        for r, ends, q in zip(reward, terminated, next_utilities, strict=True)
    ]


def qmix_mix(utilities, w1, b1, w2, v, bend=lambda x: x if x > 0 else expm1(x)):
    def row(q, weights, biases, out, offset):
        hidden = [
            bend(biases[k] + sum(utility * weight[k] for utility, weight in zip(q, weights, strict=True)))
            for k in range(len(biases))
        ]
        return offset + sum(h * w for h, w in zip(hidden, out, strict=True))

    return [row(*parts) for parts in zip(utilities, w1, b1, w2, v, strict=True)]


def iql_update(q, s, a, r, next_s, terminated, alpha, gamma, best=max):
    table = [list(row) for row in q]
    following = 0.0 if terminated else best(table[next_s])
    table[s][a] = (1 - alpha) * table[s][a] + alpha * (r + gamma * following)
    return table


def coma_target(reward, terminated, truncated, next_values, gamma, td_lambda, cut=True):
    """By the definition: a weighted sum of n-step returns, each up to the end, the cut or the last time step."""

    def one(k, t, i):
        episode_reward, weight, total, answer = 0.0, 1.0, 0.0, 0.0
        for n in range(t, len(reward[k])):
            episode_reward += gamma ** (n - t) * reward[k][n]
            bootstrapped = episode_reward + gamma ** (n - t + 1) * next_values[k][n][i]
            if terminated[k][n] or (truncated[k][n] and not cut):
                return answer + (1 - total) * episode_reward
            if truncated[k][n] or n == len(reward[k]) - 1:
                return answer + (1 - total) * bootstrapped
            weight = (1 - td_lambda) * td_lambda ** (n - t)
            answer, total = answer + weight * bootstrapped, total + weight
        raise AssertionError

    return [
        [[one(k, t, i) for i in range(len(next_values[k][t]))] for t in range(len(reward[k]))]
        for k in range(len(reward))
    ]


def nash_regret(payoffs, profile, now=True):
    def reward(i, mixes):
        def total(table, rest):
            if not rest:
                return table
            return sum(p * total(part, rest[1:]) for p, part in zip(rest[0], table, strict=True))

        return total(payoffs[i], mixes)

    regrets = []
    for i, own in enumerate(profile):
        pure = [[float(k == action) for k in range(len(own))] for action in range(len(own))]
        best = max(reward(i, [*profile[:i], mix, *profile[i + 1 :]]) for mix in pure)
        regrets.append(best - (reward(i, profile) if now else 0.0))
    return regrets


@pytest.mark.parametrize(
    ("name", "true", "faulty", "flag"),
    [
        ("vdn.target", vdn_target, {"keep_going": True}, "bootstraps_after_termination"),
        ("qmix.mix", qmix_mix, {"bend": lambda x: max(x, 0.0)}, "relu"),
        ("iql.update", iql_update, None, None),
        ("coma.target", coma_target, {"cut": False}, "cut_as_termination"),
        ("nash.regret", nash_regret, {"now": False}, "best_alone"),
    ],
)
def test_an_implementation_in_plain_python_is_judged_by_the_files(name, true, faulty, flag, records, folder, tmp_path):
    record = records[name]
    small = [case for case in record["cases"] if "safetensors" not in json.dumps(case)]
    inputs = {case["id"]: {key: numbers(value) for key, value in case["inputs"].items()} for case in small}

    def tally_of(**changes):
        results = {identifier: texts(true(**given, **changes)) for identifier, given in inputs.items()}
        comparison = compare(results_file(tmp_path / "results.json", results), folder)
        (tally,) = (tally for tally in comparison.tallies if tally.attempted)
        return tally

    assert failed(tally_of()) == set()
    assert len(tally_of().passed) == len(small) >= 7
    if faulty is not None:
        assert failed(tally_of(**faulty)) == flagged(record, flag) & set(inputs)


# --- results files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "its schema is 'list', expected 'marlspec.results/1'"),
        ({"schema": "marlspec.results/2"}, "its schema is 'marlspec.results/2'"),
        ({"vectors": "marlspec.vectors/9"}, "results of the vectors 'marlspec.vectors/9'"),
        ({"precision": "float8"}, "precision is 'float8'; write float64 or float32"),
        ({"results": []}, "'results' must be an object"),
        ({"results": {}}, "has no results"),
        ({"results": {"vdn.mix/three": [1]}}, "a result of 'vdn.mix/three', which is no case"),
        ({"results": {"vdn.mix/two": ["nan"]}}, "vdn.mix/two is NaN"),
        ('{"schema": "marlspec.results/1", "results": {"vdn.mix/two": [NaN]}}', "vdn.mix/two is NaN"),
        ({"results": {"vdn.mix/two": [1, 2]}}, "vdn.mix/two has shape [2]; the result is of shape [1]"),
        ({"results": {"vdn.mix/two": 3.0}}, "vdn.mix/two has shape []"),
        ({"results": {"vdn.mix/one-agent": [[1], [2, 3]]}}, "lists are of unequal lengths"),
        ({"results": {"vdn.mix/two": ["three"]}}, "the text 'three': write a decimal number"),
        ({"results": {"vdn.mix/two": [None]}}, "vdn.mix/two is null"),
        ({"results": {"vdn.mix/two": [True]}}, "of type bool; the result holds numbers"),
        ({"results": {"nash.is_nash/pennies-even": 1}}, "the result holds true or false"),
        ({"results": {"pareto_ac.optimistic/stag": [[0.5, 1]]}}, "the result holds whole numbers"),
        ({"results": {"vdn.mix/two": {"data": [3]}}}, "an object without dtype"),
        ({"results": {"vdn.mix/two": {"dtype": "float64", "shape": [2], "data": ["3"]}}}, "data of shape [1], not [2]"),
        (
            {"results": {"vdn.mix/two": {"dtype": "float64", "shape": [1], "safetensors": {"file": "x", "key": "y"}}}},
            "cannot read",
        ),
    ],
)
def test_results_that_cannot_be_judged_are_bad_input(content, words, tmp_path):
    path = tmp_path / "results.json"
    if isinstance(content, dict):
        content = json.dumps({"schema": "marlspec.results/1", "results": {"vdn.mix/two": ["3"]}, **content})
    path.write_text(content)
    with pytest.raises(InputError) as error:
        compare(path)
    assert words in str(error.value)


def test_files_that_are_missing_or_foreign_are_bad_input(tmp_path, folder):
    with pytest.raises(InputError, match="cannot read the results"):
        compare(tmp_path / "none.json")
    good = results_file(tmp_path / "results.json", {"vdn.mix/two": ["3.0"]})
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no vectors: write them with marlspec vectors write"):
        compare(good, empty)
    (empty / "vdn.mix.json").write_text('{"schema": "marlspec.vectors/0"}')
    with pytest.raises(InputError, match=r"its schema is 'marlspec.vectors/0'"):
        compare(good, empty)


def test_an_error_or_a_gap_ranks_above_a_failure(tmp_path):
    every = {
        f"vdn.loss/{case.name}": texts(FUNCTIONS["vdn.loss"].required(case)) for case in FUNCTIONS["vdn.loss"].cases
    }
    path = tmp_path / "results.json"
    assert compare(results_file(path, every)).exit_code == 0
    assert compare(results_file(path, {**every, "vdn.loss/one": "5.0"})).exit_code == 1
    assert compare(results_file(path, {**every, "vdn.loss/one": {"error": "overflow"}})).exit_code == 2
    assert compare(results_file(path, {"vdn.loss/one": "4.0"})).exit_code == 2


def test_single_precision_has_a_wider_tolerance(tmp_path):
    path = tmp_path / "results.json"
    results = {
        f"vdn.mix/{case.name}": texts(FUNCTIONS["vdn.mix"].required(case)) for case in FUNCTIONS["vdn.mix"].cases
    }
    results["vdn.mix/two"] = [3.00001]
    assert compare(results_file(path, results)).exit_code == 1
    assert compare(results_file(path, results, precision="float32")).exit_code == 0


def test_infinity_is_wrong_and_no_bad_input(tmp_path):
    comparison = compare(results_file(tmp_path / "results.json", {"vdn.mix/two": [repr(inf)]}))
    assert sum(len(tally.failed) for tally in comparison.tallies) == 1


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_and_verifies(tmp_path, capsys, monkeypatch, folder):
    monkeypatch.setenv("COLUMNS", "300")
    target = tmp_path / "out"
    assert run(["vectors", "write", str(target)]) == 0
    assert f"{len(files())} files are written" in capsys.readouterr().out
    assert {path.name for path in target.iterdir()} == {path.name for path in folder.iterdir()}
    assert run(["vectors", "write", str(target)]) == 0
    (target / "vdn.mix.json.bak").write_text("")
    assert run(["vectors", "write", str(target)]) == 2
    assert "which is none of the vectors" in capsys.readouterr().err

    record = record_of("vdn.loss")[0]
    faulty = computed(record, FUNCTIONS["vdn.loss"].faults[1].compute, folder)
    results = results_file(tmp_path / "results.json", faulty, implementation="mine 0.1")
    assert run(["vectors", "verify", str(results), "--against", str(folder)]) == 1
    out = capsys.readouterr().out
    for words in (
        "mine 0.1",
        "vdn.loss",
        "failed vdn.loss/one",
        "half: takes half of the mean square",
        "no results of",
    ):
        assert words in out
    assert run(["vectors", "verify", str(tmp_path / "none.json")]) == 2
