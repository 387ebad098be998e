"""A script with no guard: importing it ends the process."""

raise SystemExit("bye")
