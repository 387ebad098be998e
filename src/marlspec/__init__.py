"""marlspec: the executable specification of multi-agent reinforcement learning, with a judge of implementations.

Three subpackages, each imported when it is first needed:

- `marlspec.reference`: the algorithms, each line by line as its pseudocode;
- `marlspec.games`: the games that the field argues with;
- `marlspec.properties`: the judge, `marlspec.properties.check(target, role=...)`.
"""

__version__ = "0.1.0"
