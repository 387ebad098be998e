"""Strategic games in Gambit's .nfg format, both variants, numbers taken exactly as written."""

import re
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.exact_numbers import exact_number
from marlspec.games.matrix import NormalFormGame, default_labels

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{},]|[^\s{},"]+|"', re.DOTALL)
QUOTE = '"'
COUNT = r"0*[1-9]\d{0,8}"


class Token(NamedTuple):
    """A piece of the file with the offset at which it begins; the text is empty past the end of the file."""

    text: str
    offset: int


class Strategies(NamedTuple):
    """How many strategies a player has, and their labels where the file gives any."""

    size: int
    labels: list[str] | None


class Scanner:
    """The tokens of a file, read one after the other; each complaint names line and column."""

    def __init__(self, text: str) -> None:
        """Split the text; InputError where a quote is never closed."""
        self.text = text
        self.tokens = [Token(match[0], match.start()) for match in TOKEN.finditer(text)]
        self.position = 0
        unclosed = next((token for token in self.tokens if token.text == QUOTE), None)
        if unclosed:
            raise self.error(
                unclosed, "a quote is opened and never closed: the file was cut short, or a quote is missing"
            )

    @property
    def left(self) -> int:
        """Number of tokens not read yet."""
        return len(self.tokens) - self.position

    def peek(self) -> Token:
        """Return the next token without reading it."""
        return self.tokens[self.position] if self.left else Token("", len(self.text))

    def take(self) -> Token:
        """Read the next token."""
        token = self.peek()
        self.position += 1
        return token

    def expect(self, pattern: str, wanted: str) -> str:
        """Read a token that matches the pattern throughout; InputError, naming what was wanted, for any other."""
        token = self.peek()
        if not token.text:
            raise InputError(f"the file ends where {wanted} should stand: it was cut short")
        if not re.fullmatch(pattern, token.text, re.DOTALL):
            raise self.error(token, f"{token.text!r} stands where {wanted} should")
        return self.take().text

    def expect_text(self, wanted: str) -> str:
        """Read a text in quotes and return what is in them."""
        return self.expect(r'".*"', wanted)[1:-1].replace('\\"', '"')

    def error(self, token: Token, words: str) -> InputError:
        """Return the complaint about a token."""
        before = self.text[: token.offset]
        line, column = before.count("\n") + 1, token.offset - before.rfind("\n")
        return InputError(f"line {line}, column {column}: {words}")


def parse_nfg(text: str, *, name: str = "game", origin: str = "") -> NormalFormGame:
    """Read a strategic game (.nfg, version 1), in the payoff or the outcome variant.

    The header names title, players and, by labels or by counts, their strategies, and may end with a comment. Then
    follow either the payoffs, every player's for each joint action, or a list of outcomes and one outcome number for
    each joint action, where 0 means that nobody is paid. Player 1's strategy runs fastest.

    Players' names are not kept, for agents have numbers; the strategies of a player who has none but empty labels are
    called A, B, .. as if they had been counted.

    Args:
        text: the content of the file.
        name: what to call a game without a title.
        origin: where the text comes from, for the citation; the comment is put before it.

    Raises:
        InputError: the text is no such game; the message says where and how to put it right.
    """
    scanner = Scanner(text)
    title = _read_head(scanner)
    n_players = _read_players(scanner)
    strategies = _read_strategies(scanner, n_players)
    comment = scanner.expect_text("a comment") if scanner.peek().text.startswith(QUOTE) else ""
    counts = tuple(own.size for own in strategies)
    read = _read_outcome_variant if scanner.peek().text == "{" else _read_payoff_variant
    return NormalFormGame(
        read(scanner, counts),
        name=title or name,
        citation=f"{comment} ({origin})" if comment and origin else comment or origin,
        action_labels=[own.labels or default_labels(own.size) for own in strategies],
    )


def _read_head(scanner: Scanner) -> str:
    first = scanner.peek()
    if first.text not in ("", "NFG"):
        raise scanner.error(
            first, f"the file begins with {first.text!r}: write the game as a strategic one, which begins with NFG"
        )
    scanner.expect("NFG", "NFG")
    scanner.expect("1", "the version 1")
    scanner.expect("[RD]", "R or D")
    return scanner.expect_text("the title in quotes")


def _read_players(scanner: Scanner) -> int:
    scanner.expect("{", "{ and the players' names")
    n_players = len(_read_texts(scanner, "a player's name in quotes, or }"))
    closing = scanner.take()
    if n_players == 0:
        raise scanner.error(closing, "there are no players: name at least one")
    return n_players


def _read_strategies(scanner: Scanner, n_players: int) -> list[Strategies]:
    """Read every player's strategies, which are lists of labels for all of them or counts for all of them."""
    scanner.expect("{", "{ and the players' strategies")
    read = _read_labels if scanner.peek().text == "{" else _read_count
    strategies = [read(scanner, player) for player in range(1, n_players + 1)]
    scanner.expect("}", f"}} after the strategies of all {n_players} players")
    return strategies


def _read_labels(scanner: Scanner, player: int) -> Strategies:
    scanner.expect("{", f"{{ and the strategies of player {player}")
    labels = _read_texts(scanner, f"a strategy of player {player} in quotes, or }}")
    closing = scanner.take()
    if not labels:
        raise scanner.error(closing, f"player {player} has no strategies: name at least one")
    return Strategies(len(labels), labels if any(labels) else None)


def _read_count(scanner: Scanner, player: int) -> Strategies:
    return Strategies(int(scanner.expect(COUNT, f"the number of strategies of player {player}, at least 1,")), None)


def _read_texts(scanner: Scanner, wanted: str) -> list[str]:
    """Read texts in quotes up to the closing brace, which is left."""
    texts = []
    while scanner.peek().text != "}":
        texts.append(scanner.expect_text(wanted))
    return texts


def _read_payoff_variant(scanner: Scanner, counts: tuple[int, ...]) -> NDArray[Any]:
    """Read the payoffs of every player for every joint action, shape [n, A_1, .., A_n]."""
    shape = (len(counts), *counts)
    _check_length(scanner, prod(shape), "payoffs")
    payoffs = [_read_payoff(scanner, f"payoff {k + 1}") for k in range(prod(shape))]
    return _in_reading_order(payoffs, shape)


def _read_outcome_variant(scanner: Scanner, counts: tuple[int, ...]) -> NDArray[Any]:
    """Read the outcomes, then one number of an outcome for every joint action; shape [n, A_1, .., A_n]."""
    outcomes = _read_outcomes(scanner, len(counts))
    _check_length(scanner, prod(counts), "outcome numbers")
    payoffs = [payoff for _ in range(prod(counts)) for payoff in outcomes[_read_outcome_number(scanner, len(outcomes))]]
    return _in_reading_order(payoffs, (len(counts), *counts))


def _read_outcomes(scanner: Scanner, n_players: int) -> list[list[int | Fraction]]:
    """Read the payoffs of all outcomes; they are numbered from 1, after the one that pays nobody."""
    scanner.expect("{", "{ and the outcomes")
    outcomes: list[list[int | Fraction]] = [[0] * n_players]
    while len(outcomes) == 1 or scanner.peek().text != "}":
        outcomes.append(_read_outcome(scanner, len(outcomes), n_players))
    scanner.take()
    return outcomes


def _read_outcome(scanner: Scanner, number: int, n_players: int) -> list[int | Fraction]:
    """Read one outcome's name, which is not kept, and its payoffs, which commas may separate."""
    scanner.expect("{", f"{{ and outcome {number}")
    scanner.expect_text(f"the name of outcome {number} in quotes")
    payoffs = []
    for player in range(1, n_players + 1):
        payoffs.append(_read_payoff(scanner, f"player {player}'s payoff in outcome {number}"))
        if scanner.peek().text == ",":
            scanner.take()
    scanner.expect("}", f"}} after the {n_players} payoffs of outcome {number}")
    return payoffs


def _read_payoff(scanner: Scanner, what: str) -> int | Fraction:
    token = scanner.peek()
    if not token.text:
        raise InputError(f"the file ends where {what} should stand: it was cut short")
    try:
        return exact_number(scanner.take().text)
    except InputError as error:
        raise scanner.error(token, f"{what} {error}") from error


def _read_outcome_number(scanner: Scanner, n_outcomes: int) -> int:
    """Read the number of an outcome, 0 for none."""
    token = scanner.peek()
    number = int(scanner.expect(r"\d{1,9}", "the number of an outcome"))
    if number >= n_outcomes:
        raise scanner.error(token, f"there is no outcome {number}: the outcomes are numbered 1 to {n_outcomes - 1}")
    return number


def _check_length(scanner: Scanner, count: int, what: str) -> None:
    """Refuse a body of the wrong length before anything of its announced size is made."""
    if scanner.left < count:
        raise InputError(
            f"the file ends after {scanner.left} of {count} {what}: it was cut short, or the strategies are miscounted"
        )
    if scanner.left > count:
        extra = scanner.tokens[scanner.position + count]
        raise scanner.error(
            extra, f"{extra.text!r} follows the last of {count} {what}: remove what follows, or correct the strategies"
        )


def _in_reading_order(payoffs: list[int | Fraction], shape: tuple[int, ...]) -> NDArray[Any]:
    """Lay out numbers of which the player runs fastest, then player 1's strategy, and so on."""
    array = np.empty(len(payoffs), dtype=object)
    array[:] = payoffs
    return array.reshape(shape, order="F")
