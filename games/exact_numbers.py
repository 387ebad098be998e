"""Numbers as people write them in files, read without rounding."""

import re
from fractions import Fraction

from marlspec.errors import InputError

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?\d+/\d+")
NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
MAX_CHARACTERS = 400
MAX_EXPONENT = 400


def exact_number(text: str) -> int | Fraction:
    """Read an integer, a decimal or a fraction exactly; InputError for anything else."""
    if NOT_FINITE.fullmatch(text.strip()):
        raise InputError(f"is {text.strip()}: payoffs must be finite")
    if not NUMBER.fullmatch(text.strip()):
        raise InputError(f"is {text!r}: write a number such as 3, -0.5 or 1/3")
    exponent = re.search(r"[eE]([+-]?\d+)$", text.strip())
    if len(text) > MAX_CHARACTERS or (exponent and abs(int(exponent[1])) > MAX_EXPONENT):
        raise InputError(f"has more than {MAX_CHARACTERS} digits: rescale the payoffs")
    try:
        value = Fraction(text.strip())
    except ZeroDivisionError as error:
        raise InputError(f"is {text!r}: a denominator must not be zero") from error
    return value.numerator if value.denominator == 1 else value
