"""Checkpoints: what is read equals what was written, nothing half-written is ever read, nothing foreign is accepted."""

import errno
import json
import os
import signal
from collections import OrderedDict

import pytest
import torch

from marlspec.errors import InputError
from marlspec.reference.parts import checkpoints
from marlspec.reference.parts.checkpoints import Checkpoint

RUN = {"algorithm": "vdn", "game": "climbing", "config": {"hidden": [4], "gamma": 0.1}}


def state(number):
    """Everything that a state_dict may hold, with numbers that change with one number."""
    return OrderedDict(
        {
            "theta.weight": torch.full((2, 3), number + 0.1).t(),
            "flags": torch.tensor([True, False]),
            "bytes": torch.arange(number, number + 4, dtype=torch.uint8),
            "empty": torch.zeros(0, 2),
            "_extra_state": {
                "optimisers": {"a": {"state": {0: {"step": torch.tensor(3.0)}}, "rates": [0.1 + number, (1, None)]}},
                "t": number,
                "text": "ü/.",
                "done": True,
                "list": [],
            },
        }
    )


def checkpoint(number):
    return Checkpoint(RUN, {"episodes": 3}, number, 0.1 + number, state(number))


def equal(left, right):
    """Agree in structure, types and bits."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(equal, left, right))
    return type(left) is type(right) and left == right


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_read_equals_what_was_written(tmp_path):
    checkpoints.save(tmp_path, checkpoint(5))
    read = checkpoints.load(tmp_path)
    assert equal(read.state, state(5))
    assert not equal(read.state, state(6))
    assert (read.run, read.options, read.steps, read.seconds) == (RUN, {"episodes": 3}, 5, 5.1)


def test_a_new_checkpoint_takes_the_place_of_the_old_one_and_touches_nothing_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for number in (5, 7):
        checkpoints.save(tmp_path, checkpoint(number))
    assert checkpoints.load(tmp_path).steps == 7
    assert [name.split("-")[:2] for name in files(tmp_path)] == [
        ["checkpoint", "7"],
        ["checkpoint.json"],
        ["notes.txt"],
    ]


def test_the_same_checkpoint_twice_is_the_same_files(tmp_path):
    checkpoints.save(tmp_path, checkpoint(5))
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    checkpoints.save(tmp_path, checkpoint(5))
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def killed_at(folder, moment, number):
    """Save in a process of its own that SIGKILL ends at one of its writes; return whether it was killed."""
    child = os.fork()
    if child == 0:
        calls = iter(range(10_000))

        def deadly(function):
            def call(*arguments, **options):
                if next(calls) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)

            return call

        for name in ("fsync", "open"):
            setattr(os, name, deadly(getattr(os, name)))
        checkpoints.safetensors.torch.save_file = deadly(checkpoints.safetensors.torch.save_file)
        for name in ("replace", "unlink", "write_text"):
            setattr(checkpoints.Path, name, deadly(getattr(checkpoints.Path, name)))
        checkpoints.save(folder, checkpoint(number))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_process_killed_at_any_moment_leaves_one_whole_checkpoint(tmp_path):
    checkpoints.save(tmp_path, checkpoint(1))
    found, number = [], 2
    while killed_at(tmp_path, number - 2, number):
        read = checkpoints.load(tmp_path)
        assert equal(read.state, state(read.steps))
        found.append(read.steps == number)
        number += 1
    assert number > 10, "there are many moments"
    assert found == sorted(found), "until a moment the old one is read, from then on the new one"
    assert set(found) == {True, False}
    assert checkpoints.load(tmp_path).steps == number
    assert len(files(tmp_path)) == 2, "what killed processes left behind is gone"


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, checkpoint(1))

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(tmp_path, checkpoint(2))
    assert equal(checkpoints.load(tmp_path).state, state(1))


def test_everything_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    log = []
    sync, replace = os.fsync, checkpoints.Path.replace

    def synced(number):
        log.append(("fsync", os.readlink(f"/proc/self/fd/{number}").removeprefix(f"{tmp_path}/")))
        sync(number)

    def renamed(path, target):
        log.append(("rename", str(path.relative_to(tmp_path))))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(checkpoints.Path, "replace", renamed)
    checkpoints.save(tmp_path, checkpoint(3))
    folder = str(tmp_path)
    expected = []
    for name in ("checkpoint.unfinished/tensors", "checkpoint.unfinished/checkpoint.json"):
        expected += [("fsync", name), ("rename", name), ("fsync", folder)]
    assert log == expected


def changed(path, change):
    path.write_bytes(change(path.read_bytes()))


def flipped(content):
    """Turn one bit in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE = {
    "a bit of the tensors": (lambda json_, tensors: changed(tensors, flipped), "not what was written"),
    "the end of the tensors": (lambda json_, tensors: changed(tensors, lambda c: c[:-7]), "not what was written"),
    "the tensors": (lambda json_, tensors: tensors.unlink(), "without checkpoint-5-"),
    "the end of the rest": (lambda json_, tensors: changed(json_, lambda c: c[:-7]), "is no JSON"),
    "all of the rest": (lambda json_, tensors: json_.write_bytes(b""), "is no JSON"),
    "bytes of no text": (lambda json_, tensors: json_.write_bytes(b"\xff\xfe\xfa"), "is no JSON"),
    "another JSON": (lambda json_, tensors: json_.write_text("[1]"), "is no checkpoint of marlspec"),
    "a number of the rest": (
        lambda json_, tensors: changed(json_, lambda c: c.replace(b'"steps": 5', b'"steps": 6')),
        "not what was written",
    ),
    "the schema": (
        lambda json_, tensors: changed(json_, lambda c: c.replace(b"marlspec.checkpoint/1", b"marlspec.checkpoint/2")),
        "schema 'marlspec.checkpoint/2' and this version of marlspec reads 'marlspec.checkpoint/1'",
    ),
    "the checkpoint": (lambda json_, tensors: json_.unlink(), "holds no checkpoint"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_refused_and_left_alone(tmp_path, what):
    damage, message = DAMAGE[what]
    checkpoints.save(tmp_path, checkpoint(5))
    (tensors,) = tmp_path.glob("*.safetensors")
    damage(tmp_path / "checkpoint.json", tensors)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    with pytest.raises(InputError, match=message):
        checkpoints.load(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_tensors_that_are_no_safetensors_are_refused(tmp_path):
    checkpoints.save(tmp_path, checkpoint(5))
    whole = json.loads((tmp_path / "checkpoint.json").read_text())
    tensors = tmp_path / whole["content"]["tensors"]["file"]
    tensors.write_bytes(b"nonsense")
    whole["content"]["tensors"]["sha256"] = checkpoints._digest(tensors)
    whole["sha256"] = checkpoints._digest_of(json.dumps(whole["content"]))
    (tmp_path / "checkpoint.json").write_text(json.dumps(whole))
    with pytest.raises(InputError, match="cannot be read"):
        checkpoints.load(tmp_path)


def test_a_folder_without_checkpoint_says_so(tmp_path):
    assert not checkpoints.exists(tmp_path)
    with pytest.raises(InputError, match="holds no checkpoint to resume from"):
        checkpoints.load(tmp_path / "nowhere")


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(TypeError, match="a set at _extra_state/seen"):
        checkpoints.save(tmp_path, Checkpoint(RUN, {}, 1, 0.0, {"_extra_state": {"seen": {1}}}))


def test_another_run_is_refused_by_all_that_differs(tmp_path):
    checkpoints.require_same_run(tmp_path, RUN, {**RUN, "config": {"hidden": (4,), "gamma": 0.1}})
    other = {"algorithm": "qmix", "game": "climbing", "config": {"hidden": (4, 4), "gamma": 0.1, "embed": 8}}
    with pytest.raises(InputError) as error:
        checkpoints.require_same_run(tmp_path, RUN, other)
    message = str(error.value)
    assert "algorithm is 'vdn' there and 'qmix' here; hidden is [4] there and [4, 4] here; embed is None" in message
    assert "gamma" not in message
    assert "game" not in message.split("another --folder")[0].replace("game is", "")


def test_what_a_killed_writer_left_is_gone_with_the_next_checkpoint(tmp_path, monkeypatch):
    """safetensors writes under a name of its own, beside the one that it is given."""
    write = checkpoints.safetensors.torch.save_file

    def killed(tensors, path):
        (path.parent / ".tmpAbCdEf").write_bytes(b"half")
        raise KeyboardInterrupt

    checkpoints.save(tmp_path, checkpoint(1))
    monkeypatch.setattr(checkpoints.safetensors.torch, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path, checkpoint(2))
    assert equal(checkpoints.load(tmp_path).state, state(1))
    monkeypatch.setattr(checkpoints.safetensors.torch, "save_file", write)
    checkpoints.save(tmp_path, checkpoint(3))
    assert len(files(tmp_path)) == 2
    assert equal(checkpoints.load(tmp_path).state, state(3))
