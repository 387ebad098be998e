"""The error for bad input, which every command turns into a clear message and exit code 2."""


class InputError(ValueError):
    """Something that a user handed over is wrong; the message says what, and how to put it right."""
