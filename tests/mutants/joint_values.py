from .target import Collection

good, bad = Collection(), Collection()
GOOD, BAD = good.targets(), bad.targets()
