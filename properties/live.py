"""The live door: a target that is a program of its own, asked through JSON lines on its standard input and output.

    marlspec check 'exec:node my_target.js' --role mixer

The program runs for as long as its target is judged. Each time the judge makes the thing, it says hello; each time it
calls it, the program reads one request and writes one answer. docs/protocol.md has the messages. What goes wrong is a
`TargetError`: it ends the program, and the next request starts another one, up to a number of times.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from threading import Timer
from typing import IO, Any

import numpy as np
import torch

from marlspec.errors import InputError
from marlspec.properties.protocol import VERSION, BadMessage, decoded, encoded, line_of, message_of
from marlspec.properties.roles import role_named
from marlspec.properties.trial import TargetError

PREFIX = "exec:"
ROLES = (
    "mixer",
    "vdn_mixer",
    "qmix_mixer",
    "joint_value",
    "tabular_update",
    "cql_update",
    "optimal_backup",
    "evaluator",
    "nash_check",
    "pareto_check",
    "equilibrium_solver",
    "td_target",
    "return_estimator",
    "counterfactual_advantage",
    "policy_loss",
    "policy",
    "epsilon_greedy",
)
LIMIT = "MARLSPEC_ANSWER_LIMIT"  # environment variable: seconds that a program may take for one answer
DEFAULT_LIMIT = 30.0
START = 10  # times as long may the first answer take, since a program has to load what it needs
GRACE = 2.0  # seconds in which a program ends by itself after it is told bye
MOST_FAILURES = 3  # programs that may crash, hang or talk nonsense before no other one is started
TAIL = 2_000  # bytes of standard error that an error shows


class Program:
    """A command that answers requests, one at a time; started at the first one, and anew after a failure."""

    def __init__(self, command: str) -> None:
        """Read the command, which is split as a POSIX shell does and run without one.

        Raises:
            InputError: it is empty, names no program that can be found, or the time limit is no number of seconds.
        """
        self.arguments = _arguments(command)
        self.limit = _limit()
        self.generation = 0  # counts the processes
        self._started = False  # whether the process has answered once
        self._requests = 0
        self._failures: list[TargetError] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._end: weakref.finalize[..., Any] | None = None

    def ask(self, message: Mapping[str, Any], expected: str) -> dict[str, Any]:
        """Send a request and return the answer to it.

        Args:
            message: the request without its id.
            expected: the type of the answer that is wanted.

        Raises:
            TargetError: the program answers with an error; or it cannot be started, ends, takes too long, or writes
                anything but an answer to the request, all of which end it.
        """
        if len(self._failures) >= MOST_FAILURES:
            last = self._failures[-1]
            raise TargetError(f"{last} (given up after {MOST_FAILURES} starts)", last.details)
        self.start()
        self._requests += 1
        try:
            answer = self._exchanged(line_of({"id": self._requests, **message}), str(message["type"]))
            _check_answer(answer, self._requests, expected)
        except BadMessage as error:
            raise self._failed(f"{error} (asked for {expected}, request {self._requests})") from error
        if answer["type"] == "error":
            text, details = str(answer.get("message", "without a message")), str(answer.get("details", ""))
            raise TargetError(f"the target answered with an error: {text}", details)
        return answer

    def start(self) -> None:
        """Start the program unless it runs.

        Raises:
            TargetError: the system does not start it.
        """
        if self._process is not None:
            return
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by _stop
        pipe = subprocess.PIPE
        try:  # in a session of its own: Ctrl-C reaches the judge alone, which then ends the program with its children
            process = subprocess.Popen(
                self.arguments, stdin=pipe, stdout=pipe, stderr=self._log, start_new_session=True
            )
        except OSError as error:
            self._log.close()
            self._log = None
            raise self._failed(f"the system does not start it: {error}") from error
        self._process, self.generation, self._started = process, self.generation + 1, False
        self._end = weakref.finalize(self, _stop, process, self._log)

    def close(self) -> None:
        """End the program: with a word, or else by force."""
        if self._end is not None:
            self._end()
        self._process = self._end = self._log = None

    def _exchanged(self, line: bytes, request: str) -> dict[str, Any]:
        """Write a line and read one, in the time for one answer."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        limit = self.limit if self._started else START * self.limit
        answer = b""
        with _deadline(process, limit) as expired, contextlib.suppress(BrokenPipeError):
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
        if expired:
            raise self._failed(
                f"it gave no answer to {request} within {limit:g} s; write one line for each request and flush it "
                f"(more time: {LIMIT}=SECONDS in the environment)"
            )
        if not answer.endswith(b"\n"):
            raise self._failed(f"it ended{self._exit_status()} before it answered {request}; read requests until bye")
        self._started = True
        return message_of(answer)

    def _exit_status(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return " its output"
        return f" by signal {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"

    def _failed(self, problem: str) -> TargetError:
        """End the program and return the error to raise, which shows what it wrote to standard error."""
        log, self._log = self._log, None
        if self._process is not None:
            _kill(self._process)
        told = "" if log is None else _tail(log)
        self.close()
        last = f"; standard error ends in: {told.splitlines()[-1]}" if told else ""
        details = f"standard error of {shlex.join(self.arguments)}:\n{told}" if told else ""
        error = TargetError(f"the program behind the live door failed: {problem}{last}", details)
        self._failures.append(error)
        return error


class LiveFunction:
    """What one hello made: each call sends the arguments and returns the answer's value."""

    arrays = "numpy"
    no_graph = "a target behind the live door has no graph of torch operators, and its parameters cannot be drawn anew"

    def __init__(self, program: Program, hello: Mapping[str, Any], batched: bool) -> None:
        self._program = program
        self._hello = hello
        self._batched = batched
        self._introduce()

    def __call__(self, *arguments: Any) -> Any:
        """Ask for the function's value.

        Raises:
            TargetError: as Program.ask, or an answer that holds something else than numbers.
        """
        self._program.start()
        if self._generation != self._program.generation:  # another process than the one that knows this function
            self._introduce()
        request = {"type": "call", "target": self._target, "arguments": [encoded(value) for value in arguments]}
        answer = self._program.ask(request, "result")
        try:
            value = decoded(answer.get("value"))
            return np.array(value, dtype=np.float64) if self._batched and isinstance(value, list) else value
        except (BadMessage, ValueError, OverflowError) as error:
            raise TargetError(f"the target's result cannot be read as numbers: {error}") from error

    def _introduce(self) -> None:
        ready = self._program.ask(self._hello, "ready")
        self._generation, self._target = self._program.generation, ready["id"]
        if ready.get("protocol") != VERSION:
            raise TargetError(
                f"the target speaks the protocol {ready.get('protocol')!r}; this judge speaks {VERSION!r}, which "
                "its answer to hello has to name"
            )
        vars(self).update(_attributes(ready.get("attributes", {})))


class LiveFactory:
    """A factory behind the live door, as `marlspec.properties.roles.Target` asks for one."""

    def __init__(self, command: str, role: str) -> None:
        """Prepare the command; it is started when the factory is first called.

        Raises:
            InputError: the command cannot be run, or the role's arguments do not fit through the door.
        """
        if role_named(role).name not in ROLES:
            raise InputError(
                f"the role {role!r} cannot be judged through the live door, which takes functions alone, and it is an "
                f"object with a state and methods of its own: write an adapter in Python. The roles of the door are "
                f"{', '.join(ROLES)}"
            )
        self._role = role_named(role)
        self._program = Program(command)

    arrays = "numpy"

    def __call__(self, *sizes: int, **settings: Any) -> LiveFunction:
        """Say hello; the seed is that of the judge, which it sets before it makes a target.

        Raises:
            TargetError: as Program.ask, or the program speaks another version.
            InputError: a setting that JSON cannot hold.
        """
        hello = {
            "type": "hello",
            "protocol": VERSION,
            "role": self._role.name,
            "sizes": dict(zip(self._role.axes, sizes, strict=True)),
            "settings": _encoded_settings(settings),
            "seed": torch.initial_seed() % 2**32,
        }
        return LiveFunction(self._program, hello, batched=bool(self._role.axes))

    def close(self) -> None:
        """End the program; a later call starts it again."""
        self._program.close()


def _arguments(command: str) -> list[str]:
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise InputError(f"the command {command!r} cannot be split into words: {error}") from error
    if not arguments:
        raise InputError("name a command behind exec:, as in 'exec:node my_target.js'")
    if shutil.which(arguments[0]) is None:
        raise InputError(
            f"no program {arguments[0]!r} is found for the target {PREFIX + command!r}: install it, or give its path"
        )
    return arguments


def _limit() -> float:
    text = os.environ.get(LIMIT, str(DEFAULT_LIMIT))
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit <= 86_400:
        raise InputError(f"the environment sets {LIMIT}={text}: write a number of seconds above 0")
    return limit


def _encoded_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {name: encoded(value) for name, value in settings.items()}
    except TypeError as error:
        raise InputError(f"the settings {settings} cannot be handed through the live door: {error}") from error


def _check_answer(answer: Mapping[str, Any], request: int, expected: str) -> None:
    if answer.get("id") != request:
        raise BadMessage(
            f"it answered with id {answer.get('id')!r}; answer each request once, in turn, with the id of the request"
        )
    if answer.get("type") not in (expected, "error"):
        raise BadMessage(f"it answered the type {answer.get('type')!r}; answer {expected!r} or 'error'")


def _attributes(declared: Any) -> dict[str, Any]:
    if not isinstance(declared, dict):
        raise TargetError(f"the target's attributes are {declared!r}; declare them as an object of names and values")
    for name in declared:
        if not name.isidentifier() or name.startswith("_") or name == "arrays":
            raise TargetError(f"the target declares an attribute {name!r}, which the judge does not read")
    return declared


@contextlib.contextmanager
def _deadline(process: subprocess.Popen[bytes], seconds: float) -> Iterator[list[bool]]:
    """Kill the process when the time is over, which ends whatever waits for it; the list then holds an entry."""
    expired: list[bool] = []

    def expire() -> None:
        expired.append(True)
        _kill(process)

    timer = Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with its children; one that has been waited for is gone, and its number may be another's."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _stop(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Say bye, wait a little, and leave nothing behind."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with _deadline(process, GRACE), contextlib.suppress(OSError, ValueError):
            if process.returncode is None:
                process.stdin.write(line_of({"type": "bye"}))
                process.stdin.close()
                while process.stdout.read(1 << 16):  # up to its end, when the program and its children are gone
                    pass
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    finally:
        _kill(process)
        process.wait()
        for stream in (process.stdin, process.stdout, log):
            with contextlib.suppress(OSError):
                stream.close()


def _tail(log: IO[bytes]) -> str:
    """The end of what a program wrote to standard error."""
    end = log.seek(0, os.SEEK_END)
    log.seek(max(0, end - TAIL))
    return log.read().decode("utf-8", "replace").strip()
