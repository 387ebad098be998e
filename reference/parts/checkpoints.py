"""Checkpoints: all that a run's future depends on, in a folder, whole or not at all.

A checkpoint is two files. checkpoint-STEPS-DIGEST.safetensors holds the tensors; checkpoint.json holds everything else,
names the first file with its digest, and is the last to be written: what it names is there, complete. Each file is
written in a folder beside them, brought to the disk, and moved, so that a process that is killed at any moment leaves
the checkpoint before or the new one. Older tensors are deleted only then, and that folder with all that is left in it.

The state is a nested structure of dicts, lists, tuples, tensors, numbers, strings, truth values and None, as in a
state_dict. In JSON each container is an object with one entry that names its kind, and each tensor one that names its
place in the other file, so that what is read equals what was written to the type and to the bit.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from marlspec.errors import InputError

SCHEMA = "marlspec.checkpoint/1"
NAME = "checkpoint.json"
TENSORS = "checkpoint-*.safetensors"
UNFINISHED = "checkpoint.unfinished"

Json: TypeAlias = Any


@dataclass(frozen=True)
class Checkpoint:
    """A run at some step.

    Attributes:
        run: what identifies the run: algorithm, game, settings; as JSON has it.
        options: how it was watched, which another part of the run may change; as JSON has it.
        steps: how many steps were made.
        seconds: how long they took.
        state: the learner's state_dict; all tensors on the CPU.
    """

    run: Json
    options: Json
    steps: int
    seconds: float
    state: Any


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into an existing folder, in place of the one there, which stays until the new one is whole.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    content = {
        "run": checkpoint.run,
        "options": checkpoint.options,
        "steps": checkpoint.steps,
        "seconds": checkpoint.seconds,
        "state": _encoded(checkpoint.state, "", tensors),
    }
    drafts = folder / UNFINISHED
    drafts.mkdir(exist_ok=True)
    unfinished = drafts / "tensors"
    safetensors.torch.save_file(tensors, unfinished)
    digest = _digest(unfinished)
    path = folder / f"checkpoint-{checkpoint.steps}-{digest[:12]}.safetensors"
    content["tensors"] = {"file": path.name, "sha256": digest}
    _finish(unfinished, path)
    body = json.dumps(content)
    whole = json.dumps({"schema": SCHEMA, "sha256": _digest_of(body), "content": content}, indent=1)
    unfinished = drafts / NAME
    unfinished.write_text(whole, encoding="utf-8")
    _finish(unfinished, folder / NAME)
    for old in {*folder.glob(TENSORS)} - {path}:
        old.unlink()
    shutil.rmtree(drafts)


def load(folder: Path) -> Checkpoint:
    """Read the checkpoint of a folder.

    Raises:
        InputError: there is none, it is of another version, or what is there is not what was written.
    """
    content = _content(folder / NAME)
    path = folder / str(content["tensors"]["file"])
    if not path.is_file():
        raise InputError(f"{folder} holds {NAME} without {path.name}, which it names: {_RESTORE}")
    if _digest(path) != content["tensors"]["sha256"]:
        raise InputError(f"{path} is not what was written (its digest differs): {_RESTORE}")
    try:
        tensors = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} cannot be read ({error}): {_RESTORE}") from error
    state = _decoded(content["state"], tensors)
    return Checkpoint(content["run"], content["options"], content["steps"], content["seconds"], state)


def exists(folder: Path) -> bool:
    """Return whether a folder holds a checkpoint, readable or not."""
    return (folder / NAME).exists()


def require_same_run(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse the checkpoint of another run; both runs are as Checkpoint.run has them.

    Raises:
        InputError: algorithm, game or a setting differ; the message names all that do.
    """
    differences = list(_differences(found, json.loads(json.dumps(wanted))))
    if differences:
        raise InputError(
            f"{folder} holds another run: {'; '.join(differences)}. Leave out what differs to go on with that run, or "
            "name another --folder"
        )


_RESTORE = "restore the folder, or begin a new run in another one"


def _content(path: Path) -> Json:
    if not path.exists():
        raise InputError(f"{path.parent} holds no checkpoint to resume from: check the folder, or leave out --resume")
    try:
        whole = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}): {_RESTORE}") from error
    if not isinstance(whole, dict) or not {"schema", "sha256", "content"} <= set(whole):
        raise InputError(f"{path} is no checkpoint of marlspec: {_RESTORE}")
    if whole["schema"] != SCHEMA:
        raise InputError(
            f"{path} has the schema {whole['schema']!r} and this version of marlspec reads {SCHEMA!r}: resume with the "
            "version that wrote it"
        )
    if whole["sha256"] != _digest_of(json.dumps(whole["content"])):
        raise InputError(f"{path} is not what was written (its digest differs): {_RESTORE}")
    return whole["content"]


def _differences(found: Any, wanted: Any, name: str = "") -> Any:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*found, *wanted]):
            yield from _differences(found.get(key), wanted.get(key), key)
    elif found != wanted:
        yield f"{name} is {found!r} there and {wanted!r} here"


def _encoded(value: Any, place: str, tensors: dict[str, Tensor]) -> Json:
    """Return a structure as JSON, with the tensors put under their places."""
    if isinstance(value, Tensor):
        tensors[place] = value.detach().cpu().contiguous()
        return {"tensor": place}
    if isinstance(value, Mapping):
        return {"dict": [[key, _encoded(own, _within(place, key), tensors)] for key, own in value.items()]}
    if isinstance(value, list | tuple):
        entries = [_encoded(own, _within(place, k), tensors) for k, own in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": entries}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} at {place} of a state_dict cannot be saved")


def _within(place: str, key: object) -> str:
    return f"{place}/{key}" if place else str(key)


def _decoded(value: Json, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _decoded(own, tensors) for key, own in content}
    entries = [_decoded(own, tensors) for own in content]
    return tuple(entries) if kind == "tuple" else entries


def _finish(unfinished: Path, path: Path) -> None:
    """Bring a written file to the disk and give it its name, so that it is there whole or not at all."""
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
