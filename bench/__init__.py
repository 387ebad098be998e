"""The bench: how fast the algorithms train, the judge judges and the solvers solve, tracked from change to change.

It is run from a checkout: `make bench` takes a record, `make bench-compare` compares with the last one, and
`python -m bench --help` has the details.
"""
