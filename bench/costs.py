"""Cost against work: how the time of a step grows with K, agents, actions, seeds and the length of a history.

Fitted is t = a + b x, by least squares of relative errors. Beside it stands the steepest growth between neighbouring
points, log(t2 / t1) / log(x2 / x1): 0 where more work costs nothing more, 1 where it costs in proportion, 2 where it is
quadratic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

QUADRATIC = 1.5  # a growth nearer to 2 than to 1


@dataclass(frozen=True)
class Fit:
    """A straight line through times of a step, and their steepest growth.

    Attributes:
        fixed: seconds that do not depend on the work.
        each: seconds for each unit of work.
        error: the largest relative error of the line.
        growth: the steepest growth between neighbours; 1 is in proportion.
    """

    fixed: float
    each: float
    error: float
    growth: float

    @property
    def is_quadratic(self) -> bool:
        """Whether some neighbours grow by more than in proportion, closer to the square."""
        return self.growth > QUADRATIC


def fit(work: Sequence[float], seconds: Sequence[float]) -> Fit:
    """Fit times of a step to amounts of work, at least two, in rising order."""
    x, t = np.asarray(work, dtype=float), np.asarray(seconds, dtype=float)
    design = np.stack([np.ones_like(x), x], axis=1) / t[:, None]
    (fixed, each), *_ = np.linalg.lstsq(design, np.ones_like(t))
    error = np.abs((fixed + each * x) / t - 1).max()
    growth = (np.diff(np.log(t)) / np.diff(np.log(x))).max()
    return Fit(float(fixed), float(each), float(error), float(growth))
