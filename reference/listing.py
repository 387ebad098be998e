"""Listings and markers: an algorithm file's pseudocode, and which code line carries out which of its lines.

A file's docstring holds the listing, after a line "Listing:", one numbered line each:

        10      Put (h, a, r, h', whether s' is terminal) into D  (E6)

A code line that carries out pseudocode lines ends in a marker that names them, with the errata that it applies:

        self.replay.store(transition)  # 10 (E6)
        y = target(...)  # 13-15, 17

The methods __init__, step and learn of the file's learner, in this order, are its spine. There every line of the
listing must be carried out, in ascending order of the markers' first numbers. Every other function (called from a line
of the spine) repeats the numbers that it carries out, in ascending order. One exception is allowed, where the listing
itself states it: a line whose text says "(before line N: reason)" is carried out earlier than its number, before N.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from marlspec.errors import InputError
from marlspec.reference.errata import ERRATA

ROOT = Path(__file__).parent
NOT_ALGORITHMS = {"commands.py", "errata.py", "listing.py"}
NO_PSEUDOCODE = {"parts", "reproduction", "solution"}  # what pseudocode takes for granted, runs, definitions
SPINE = ("__init__", "step", "learn")
NUMBERED = re.compile(r" *(\d+)  ( *\S.*)")
EARLY = re.compile(r"\(before line (\d+): [^)]+\)")
ERRATUM = re.compile(r"\(([DE]\d+)\)")
MARKER = re.compile(r"# (\d+(?:-\d+)?(?:, \d+(?:-\d+)?)*)((?: \([DE]\d+\))*)")


@dataclass(frozen=True)
class ListingLine:
    """One line of pseudocode, indented as listed; early names the line before which it is carried out, if any."""

    number: int
    text: str

    @property
    def errata(self) -> tuple[str, ...]:
        """The errata that the line applies."""
        return tuple(ERRATUM.findall(self.text))

    @property
    def early(self) -> int | None:
        """The line before which this one is carried out, where the listing states such an exception."""
        match = EARLY.search(self.text)
        return int(match[1]) if match else None


@dataclass(frozen=True)
class Marker:
    """A code line's marker: where it stands, which pseudocode lines it names, and which errata."""

    row: int
    function: str
    numbers: tuple[int, ...]
    errata: tuple[str, ...]

    @property
    def in_spine(self) -> bool:
        """Whether it stands in __init__, step or learn of the learner."""
        return self.function.split(".")[-1] in SPINE and self.function.count(".") == 1


@dataclass(frozen=True)
class Algorithm:
    """An algorithm file: its title, source, listing, code and markers."""

    name: str
    title: str
    source: str
    listing: tuple[ListingLine, ...]
    code: str
    markers: tuple[Marker, ...]

    @property
    def pseudocode(self) -> list[str]:
        """The listing without its numbers, which shift from one algorithm to the next."""
        return [line.text for line in self.listing]

    @property
    def plain_code(self) -> list[str]:
        """The code below the docstring, of its markers the errata alone."""
        docstring = ast.parse(self.code).body[0]
        lines = self.code.splitlines()[docstring.end_lineno :]
        return [MARKER.sub(_errata_alone, line).rstrip() for line in lines]

    def statement(self, marker: Marker) -> str:
        """Return the code that a marker stands at: the whole statement where it begins one, else its line.

        Of the markers in it only the errata are kept.
        """
        lines = self.code.splitlines()
        last = _last_row(ast.parse(self.code), marker.row)
        block = [MARKER.sub(_errata_alone, line).rstrip() for line in lines[marker.row - 1 : last]]
        indent = len(block[0]) - len(block[0].lstrip())
        return "\n".join(line[indent:] for line in block)


def algorithm_files(root: Path = ROOT) -> dict[str, Path]:
    """Return every algorithm file under a folder by its name, in alphabetical order."""
    paths = (path for path in root.rglob("*.py") if _is_algorithm(path.relative_to(root)))
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}


def load(name: str) -> Algorithm:
    """Return an algorithm by name, as in "vdn".

    Raises:
        InputError: no such algorithm.
    """
    files = algorithm_files()
    if name not in files:
        raise InputError(f"no algorithm named {name!r}; the algorithms are {', '.join(files)}")
    return parse(files[name].read_text(encoding="utf-8"), name)


def parse(code: str, name: str) -> Algorithm:
    """Read an algorithm file.

    Raises:
        InputError: the docstring has no listing, a line of it is not numbered in turn, or a comment looks like a
            marker but is none.
    """
    docstring = ast.get_docstring(ast.parse(code)) or ""
    head, found, body = docstring.partition("\nListing:\n")
    if not found:
        raise InputError(f'{name}: the docstring holds no listing; write it after a line "Listing:"')
    title = head.splitlines()[0].rstrip(".")
    source = re.search(r"^Source: (.+)$", head, re.MULTILINE)
    if not source:
        raise InputError(f'{name}: the docstring names no source; write a line "Source: ..."')
    return Algorithm(
        name=name,
        title=title,
        source=source[1].rstrip("."),
        listing=tuple(_listing_lines(body, name)),
        code=code,
        markers=tuple(_markers(code, name)),
    )


def problems(algorithm: Algorithm, known_errata: Iterable[str] = tuple(ERRATA)) -> list[str]:
    """Return what is wrong with a file's markers, in words; nothing where code and listing agree."""
    listed = {line.number: line for line in algorithm.listing}
    return [
        *_unknown_lines(algorithm, listed),
        *_missing_lines(algorithm, listed),
        *_disorder(algorithm, listed),
        *_errata_problems(algorithm, listed, set(known_errata)),
    ]


def _errata_alone(marker: re.Match[str]) -> str:
    return f"#{marker[2]}" if marker[2] else ""


def _is_algorithm(path: Path) -> bool:
    is_tool = len(path.parts) == 1 and path.name in NOT_ALGORITHMS
    return not is_tool and path.parts[0] not in NO_PSEUDOCODE and path.name != "__init__.py"


def _listing_lines(body: str, name: str) -> Iterator[ListingLine]:
    lines = [line for line in body.splitlines() if line.strip()]
    for expected, line in enumerate(lines, start=1):
        match = NUMBERED.fullmatch(line)
        if not match or int(match[1]) != expected:
            raise InputError(f"{name}: line {expected} of the listing should be there, not {line.strip()!r}")
        yield ListingLine(expected, match[2])


def _markers(code: str, name: str) -> Iterator[Marker]:
    functions = _functions(ast.parse(code))
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type != tokenize.COMMENT or not re.match(r"#\s*\d", token.string):
            continue
        row = token.start[0]
        match = MARKER.fullmatch(token.string)
        if not match or not token.line[: token.start[1]].strip():
            raise InputError(f"{name}, row {row}: {token.string!r} is no marker at the end of code; write # 7-8 (E6)")
        yield Marker(row, functions.get(row, ""), _numbers(match[1]), tuple(ERRATUM.findall(match[2])))


def _functions(tree: ast.Module) -> dict[int, str]:
    """For each row within a function its name, with the class before a method's."""
    rows: dict[int, str] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if isinstance(child, ast.FunctionDef):
                    rows.update(dict.fromkeys(range(child.lineno, (child.end_lineno or child.lineno) + 1), name))
                visit(child, f"{name}.")

    visit(tree, "")
    return rows


def _numbers(text: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in text.split(", "):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return tuple(numbers)


def _last_row(tree: ast.Module, row: int) -> int:
    """The last row of the simple statement that begins in a row; the row itself inside a statement or at a header."""
    simple = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and not hasattr(node, "body")]
    return next((node.end_lineno or row for node in simple if node.lineno == row), row)


def _unknown_lines(algorithm: Algorithm, listed: dict[int, ListingLine]) -> Iterator[str]:
    for marker in algorithm.markers:
        if not marker.numbers:
            yield f"row {marker.row}: the marker's range is empty"
        for number in marker.numbers:
            if number not in listed:
                yield f"row {marker.row}: line {number} is not in the listing"


def _missing_lines(algorithm: Algorithm, listed: dict[int, ListingLine]) -> Iterator[str]:
    carried_out = {number for marker in algorithm.markers if marker.in_spine for number in marker.numbers}
    for number in sorted(set(listed) - carried_out):
        yield f"line {number} of the listing is carried out nowhere in {', '.join(SPINE)}"


def _disorder(algorithm: Algorithm, listed: dict[int, ListingLine]) -> Iterator[str]:
    spine = [
        marker
        for method in SPINE
        for marker in algorithm.markers
        if marker.in_spine and marker.function.endswith(f".{method}")
    ]
    yield from _descents(spine, listed)
    others = [marker for marker in algorithm.markers if not marker.in_spine]
    for function in sorted({marker.function for marker in others}):
        yield from _descents([marker for marker in others if marker.function == function], listed)


def _descents(markers: list[Marker], listed: dict[int, ListingLine]) -> Iterator[str]:
    """Where a marker names a lower line than one before it, or an early line comes too late."""
    reached = 0
    for marker in markers:
        first = min(marker.numbers, default=0)
        early = listed[first].early if first in listed else None
        if reached > first or (early is not None and reached >= early):
            yield f"row {marker.row}: line {first} comes after line {reached} without a reason in the listing"
        elif early is None:
            reached = first


def _errata_problems(algorithm: Algorithm, listed: dict[int, ListingLine], known: set[str]) -> Iterator[str]:
    applied = {(number, erratum) for m in algorithm.markers for number in m.numbers for erratum in m.errata}
    for line in algorithm.listing:
        for erratum in line.errata:
            if erratum not in known:
                yield f"line {line.number} names the unknown erratum {erratum}"
            if (line.number, erratum) not in applied:
                yield f"line {line.number} applies {erratum}, but no marker of it says so"
    for marker in algorithm.markers:
        stated = {erratum for number in marker.numbers if number in listed for erratum in listed[number].errata}
        for erratum in sorted(set(marker.errata) - stated):
            yield f"row {marker.row}: the listing's line does not apply {erratum}"
