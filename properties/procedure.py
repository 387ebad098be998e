"""A target of a role without sizes: called with one case at a time, arrays and numbers in and out.

What goes wrong inside the target, and a result of the wrong shape or kind, is a `TargetError`: the judge reports it as
an error and never reads it as a counterexample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marlspec.properties.isolation import default_dtype, isolated
from marlspec.properties.trial import TargetError, Trial, errors_of_target

Array = NDArray[Any]


@dataclass
class Procedure:
    """What the factory returned, with what factory or function declare by attributes."""

    function: Callable[..., Any]
    factory: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """Call the target on fresh copies of the arguments.

        Raises:
            TargetError: it raised, or wrote into its arguments.
        """
        handed = [self._handed(argument) for argument in arguments]
        with default_dtype(torch.float64), torch.no_grad(), errors_of_target("on one case"):
            result = self.function(*handed)
        self._refuse_writing(arguments, handed)
        return result

    def recorded(self, *arguments: Any, leaves: Sequence[int]) -> tuple[Any, list[torch.Tensor]]:
        """Call a target in torch so that gradients can be taken; returns its result, and the leaves.

        Args:
            arguments: as for a call.
            leaves: positions of the arguments, arrays of floating-point numbers, in which gradients are taken.

        Raises:
            TargetError: it raised, or wrote into its arguments.
        """
        handed = [self._handed(argument) for argument in arguments]
        for position in leaves:
            handed[position].requires_grad_()
        with default_dtype(torch.float64), torch.enable_grad(), errors_of_target("on one case, with gradients"):
            result = self.function(*handed)
        self._refuse_writing(arguments, [v.detach() if isinstance(v, torch.Tensor) else v for v in handed])
        return result, [handed[position] for position in leaves]

    def declared(self, name: str, default: Any) -> Any:
        """Return an attribute of the function or the factory."""
        return getattr(self.function, name, getattr(self.factory, name, default))

    @staticmethod
    def _refuse_writing(arguments: Sequence[Any], handed: Sequence[Any]) -> None:
        for position, (before, after) in enumerate(zip(arguments, handed, strict=True)):
            if not _same(before, after):
                raise TargetError(f"the target wrote into its argument {position}; work on a copy")

    def _handed(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            array = value.copy()
            return torch.from_numpy(array) if self.declared("arrays", "numpy") == "torch" else array
        if isinstance(value, (list, tuple)):
            return [self._handed(entry) for entry in value]
        return value


def procedure(trial: Trial) -> Procedure:
    """Make the trial's target; the same seed makes the same one.

    Raises:
        TargetError: the factory raised, or returned something that cannot be called.
    """
    made = made_by(trial)
    if not callable(made):
        raise TargetError(f"the factory returned a {type(made).__name__}, which cannot be called; return a function")
    return Procedure(made, trial.target.factory)


def made_by(trial: Trial) -> Any:
    """Call the trial's factory, which takes no sizes.

    Raises:
        TargetError: it raised.
    """
    with isolated(trial.seed), default_dtype(torch.float64), errors_of_target("as factory()"):
        return trial.target.factory(**trial.target.settings)


def array_of(result: Any, shape: Sequence[int], what: str) -> Array:
    """Return a result as float64 of the given shape.

    Raises:
        TargetError: it is no array of numbers, or of another shape.
    """
    try:
        array = np.array(
            result.detach().cpu().numpy() if isinstance(result, torch.Tensor) else result, dtype=np.float64
        )
    except (TypeError, ValueError) as error:
        raise TargetError(f"{what} cannot be read as numbers of shape {list(shape)}: {error}") from error
    if array.shape != tuple(shape):
        raise TargetError(f"{what} has shape {list(array.shape)}; return shape {list(shape)}")
    return array


def truth_of(result: Any, what: str) -> bool:
    """Return a result as a truth value.

    Raises:
        TargetError: it is neither True nor False.
    """
    if isinstance(result, (bool, np.bool_)):
        return bool(result)
    if isinstance(result, (np.ndarray, torch.Tensor)) and result.ndim == 0 and "bool" in str(result.dtype):
        return bool(result)
    raise TargetError(f"{what} is {result!r} of type {type(result).__name__}; return True or False")


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, np.ndarray):
        after = after.detach().cpu() if isinstance(after, torch.Tensor) else after
        return bool(np.array_equal(before, np.asarray(after), equal_nan=before.dtype.kind == "f"))
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(map(_same, before, after))
    return True
