"""A target file that cannot be imported."""

raise ZeroDivisionError("no such luck")
