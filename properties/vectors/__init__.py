"""Vectors: inputs and required results of the specification's pure functions, for implementations in any language.

    marlspec vectors write DIR
    marlspec vectors verify RESULTS

Each case has a stable id, and flags that name the faults that it catches. A fault is a function as well: a case carries
its flag if, and only if, the fault's result differs there. docs/vectors.md has the formats.
"""
