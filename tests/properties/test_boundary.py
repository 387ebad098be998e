"""Bad input is refused with a message that helps; what goes wrong inside a target is an error, never a refutation."""

import re
import subprocess
import sys

import pytest

from marlspec.errors import InputError
from marlspec.properties import check
from marlspec.properties.roles import load, target_of

# --- errors inside the target -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raising_factory", ("RuntimeError", "no weights on this disk", "factory(n_agents=2, state_size=3)")),
        ("exiting_factory", ("SystemExit", "done")),
        ("number", ("the factory returned an int", "cannot be called", "return a function")),
        ("of_one_argument", ("TypeError", "takes 1 positional argument but 2 were given")),
        ("raising", ("ValueError", "cannot mix", "called on a batch")),
        ("exiting", ("SystemExit", "3")),
        ("column", ("shape [5, 1]", "batch of 5", "here [5]", "squeeze the last dimension")),
        ("scalar", ("shape []", "batch of 5", "keep the batch dimension")),
        ("transposed", ("shape [2]", "batch of 5", "return shape [B]")),
        ("integers", ("int64", "floating-point")),
        ("complex_numbers", ("complex128", "floating-point")),
        ("pair", ("a tuple", "not a torch tensor")),
        ("nothing", ("a NoneType", "not a torch tensor")),
        ("array_instead_of_tensor", ("ndarray", "not a torch tensor", 'arrays = "numpy"')),
        ("on_no_device", ("cannot be read",)),
        ("eight_bits", ("float8_e4m3fn", "floating-point")),
        ("objects", ("cannot be read", "object")),
    ],
)
def test_what_goes_wrong_inside_a_target_is_an_error_that_says_what(spec, quick, name, words):
    report = check(spec("hostile", name), "mixer", **quick)
    assert {verdict.outcome for verdict in report.verdicts} == {"error"}
    assert report.exit_code == 2
    assert report.witnesses == ()
    for word in words:
        assert word in report.verdicts[0].reason


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("raising_factory", 'raise RuntimeError("no weights on this disk")'),
        ("raising", "raise ValueError"),
        ("exiting", "raise SystemExit(3)"),
    ],
)
def test_an_exception_is_shown_with_its_traceback(spec, quick, name, line):
    details = check(spec("hostile", name), "mixer", **quick).verdicts[0].details
    assert "Traceback (most recent call last)" in details
    assert "hostile.py" in details
    assert line in details


def test_a_wrong_shape_at_one_batch_size_is_an_error_of_the_claim_that_met_it(spec, quick):
    report = check(spec("hostile", "wrong_at_one_row"), "mixer", **quick)
    assert report.verdict("mixer.finite").outcome == "holds"
    verdict = report.verdict("mixer.batch")
    assert verdict.outcome == "error"
    assert "shape []" in verdict.reason
    assert "batch of 1" in verdict.reason


def test_the_users_interrupt_is_no_verdict(quick):
    def factory(n_agents, state_size):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(factory, "mixer", **quick)


# --- targets that are not found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ("marlspec_nowhere.mixers:Mixer", "no module named 'marlspec_nowhere'.*install its package, or give a .py"),
        ("marlspec.nowhere:Mixer", "no module named 'marlspec.nowhere'"),
        ("nowhere/mixers.py:Mixer", "no file nowhere/mixers.py.*from /"),
        ("marlspec.properties.reference_targets:vdn_mixr", "no attribute 'vdn_mixr'; did you mean .*vdn_mixer"),
        ("marlspec.properties.reference_targets:xyzzy", r"no attribute 'xyzzy'$"),
        ("marlspec.properties.reference_targets:vdn_mixer.missing", "no attribute 'missing'"),
        (
            "reference_targets",
            "names no target: write package.module:attribute, path/file.py:attribute or exec:COMMAND",
        ),
        ("marlspec.properties:", "names no target"),
        (":attribute", "names no target"),
        ("..relative:attribute", "importing ..relative raised"),
        (3, "int, not a factory: give a function or a class"),
    ],
)
def test_a_target_that_is_not_found(thing, words):
    with pytest.raises(InputError, match=words):
        check(thing, "mixer")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("raises_on_import", "importing .*raises_on_import.py raised ZeroDivisionError: no such luck"),
        ("exits_on_import", "importing .*exits_on_import.py raised SystemExit: bye"),
    ],
)
def test_a_file_that_raises_on_import(spec, file, words):
    for _ in range(2):  # a module that failed once is not taken for imported the next time
        with pytest.raises(InputError, match=words):
            target_of(spec(file, "anything"))


def test_a_file_that_needs_a_missing_package(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import marlspec_is_not_this\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="needs the module 'marlspec_is_not_this', which is not installed"):
        target_of("needs_more:anything")


def test_a_constant_is_no_factory(spec):
    with pytest.raises(InputError, match=r"hostile.py:constant is a float, not a factory"):
        target_of(spec("hostile", "constant"))


def test_a_file_in_the_working_directory_is_found_by_path_and_as_a_module(tmp_path, monkeypatch):
    (tmp_path / "my_own_mixer.py").write_text("class Inside:\n    mix = staticmethod(lambda n, s: None)\n")
    monkeypatch.chdir(tmp_path)
    assert callable(load("my_own_mixer.py:Inside.mix"))
    assert callable(load("my_own_mixer:Inside.mix"))


def test_a_file_can_import_its_neighbours(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "weights_of_mine.py").write_text("VALUE = 7\n", encoding="utf-8")
    path = tmp_path / "adapter.py"
    path.write_text("from weights_of_mine import VALUE\nmix = lambda n, s: VALUE\n", encoding="utf-8")
    assert load(f"{path}:mix")(1, 1) == 7


def test_a_file_that_changed_is_imported_again(tmp_path):
    path = tmp_path / "mixer.py"
    path.write_text("def make(n, s):\n    return 1\n", encoding="utf-8")
    assert load(f"{path}:make")(2, 3) == 1
    assert load(f"{path}:make") is load(f"{path}:make")
    path.write_text("def make(n, s):\n    return 'mended'\n", encoding="utf-8")
    assert load(f"{path}:make")(2, 3) == "mended"


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"role": "mixr"}, "no role is named 'mixr'; did you mean 'mixer'? The roles are mixer, vdn_mixer, qmix_mixer"),
        ({"role": "xyzzy"}, "no role is named 'xyzzy'. The roles are mixer"),
        (
            {"sizes": [(2,)]},
            "a size of the role 'mixer' is n_agents x state_size, each an integer of at least 1; got [2]",
        ),
        ({"sizes": [(2, 3, 4)]}, "got [2, 3, 4]"),
        ({"sizes": [(0, 3)]}, "each an integer of at least 1; got [0, 3]"),
        ({"sizes": [(2, -1)]}, "each an integer of at least 1; got [2, -1]"),
        ({"sizes": []}, "at least one size"),
        ({"role": "joint_value", "sizes": [(2, 3)]}, "n_agents x n_actions x state_size"),
        ({"examples": 0}, "examples must be an integer of at least 1, not 0"),
        ({"examples": -5}, "examples must be an integer of at least 1, not -5"),
        ({"seed": -1}, "seed must be an integer from 0 to 4294967295, not -1"),
        ({"seed": 2**32}, "seed must be an integer from 0 to 4294967295, not 4294967296"),
        ({"claims": []}, "name at least one claim"),
        (
            {"claims": ["mixer.monoton"]},
            "no claim has the id 'mixer.monoton'; did you mean 'mixer.monotone'? The ids are ac.",
        ),
        ({"claims": ["vdn.additive"]}, "the role 'mixer' does not make the claim 'vdn.additive'"),
    ],
)
def test_unusable_arguments(spec, options, words):
    with pytest.raises(InputError, match=re.escape(words)):
        check(spec("sound", "total"), **{"role": "mixer", **options})


WRONG_TYPES = [
    ({"sizes": [(2.0, 3)]}, "each an integer of at least 1; got [2.0, 3]"),
    ({"sizes": [(True, 3)]}, "each an integer of at least 1; got [True, 3]"),
    ({"sizes": [2, 3]}, "write sizes as pairs or triples, as in [(2, 3)]; got [2, 3]"),
    ({"sizes": 3}, "write sizes as pairs or triples, as in [(2, 3)]; got 3"),
    ({"sizes": ["23"]}, "a size of the role 'mixer' is n_agents x state_size"),
    ({"examples": 2.5}, "examples must be an integer of at least 1, not 2.5"),
    ({"examples": "200"}, "examples must be an integer of at least 1, not '200'"),
    ({"seed": 0.5}, "seed must be an integer from 0 to 4294967295, not 0.5"),
    ({"engine": "fast"}, "engine must be one of hypothesis, plain, not 'fast'"),
    ({"parameters": "mine"}, "parameters must be one of redrawn, given, not 'mine'"),
]


@pytest.fixture(scope="module")
def refusals(spec):
    """What check() says to each, in a process without the run-time type checks that these tests run under."""
    script = (
        "import ast, sys; from marlspec.properties import check; from marlspec.errors import InputError\n"
        "for options in ast.literal_eval(sys.argv[2]):\n"
        "    try: check(sys.argv[1], 'mixer', **options); print('accepted')\n"
        "    except InputError as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, spec("sound", "total"), repr([options for options, _ in WRONG_TYPES])]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_arguments_of_a_wrong_type(refusals):
    assert len(refusals) == len(WRONG_TYPES)
    for refusal, (_, words) in zip(refusals, WRONG_TYPES, strict=True):
        assert words in refusal


def test_the_largest_seed_is_usable(spec, quick):
    report = check(spec("broken", "mixer_mixer_monotone"), "mixer", seed=2**32 - 1, **quick)
    assert report.exit_code == 1
