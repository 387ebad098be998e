"""The errata ledger: where a source misprints a line that is implemented here, and how a test shows it."""

from typing import NamedTuple


class Erratum(NamedTuple):
    """One misprint.

    Attributes:
        where: the source, and the printed lines.
        printed: what they say, in our words.
        corrected: what is implemented instead.
        shown_by: the test that runs the printed form and sees it fail.
    """

    where: str
    printed: str
    corrected: str
    shown_by: str


ERRATA = {
    "E1": Erratum(
        where="book and lecture, Algorithm 19, line 15, and Algorithm 20, line 16",
        printed="the actor loss, which is minimised, is the mean of Adv log pi",
        corrected="it is minus that mean: otherwise actions that did better than expected become less probable",
        shown_by="tests/reference/independent/test_errata.py::test_e1",
    ),
    "E2": Erratum(
        where="lecture, the loss of a centralised critic",
        printed="the target bootstraps from the value of the same time step, r + gamma V(h, z)",
        corrected="it bootstraps from the value of the next one, r + gamma V(h', z')",
        shown_by="tests/reference/independent/test_errata.py::test_e2",
    ),
    "E3": Erratum(
        where="book and lecture, Algorithm 22, lines 3, 16 and 22",
        printed="the mixing parameters of the target come from the online hypernetwork",
        corrected="they come from a target hypernetwork, equal at the start and synchronised with the target utilities",
        shown_by="tests/reference/decomposition/test_errata.py::test_e3",
    ),
    "E4": Erratum(
        where="book and lecture, Algorithm 19, lines 14 and 15, and Algorithm 20, lines 15 and 16",
        printed="the critic's targets and the advantages contain theta_i, and nothing says that they are constants",
        corrected="no gradient passes through targets and advantages: with it the values converge to others",
        shown_by="tests/reference/independent/test_errata.py::test_e4",
    ),
    "E5": Erratum(
        where="book and lecture, Algorithm 19, lines 6 and 9, and Algorithm 20, lines 7 and 10",
        printed="histories lack the index k of the copy, and the lines on its end stand in no loop over copies",
        corrected="each copy has its own histories, and whether it has ended is asked copy by copy",
        shown_by="tests/reference/independent/test_errata.py::test_e5",
    ),
    "E6": Erratum(
        where="book and lecture, Algorithm 17, line 11, Algorithm 21, line 10, and Algorithm 22, line 11",
        printed="the stored transition does not say whether the next state is terminal, which the target asks",
        corrected="the terminal flag is stored with the transition",
        shown_by="tests/reference/decomposition/test_errata.py::test_e6",
    ),
    "E7": Erratum(
        where="lecture, linear value decomposition: the assumption before Definition 4",
        printed="the reward is the list of the agents' utilities",
        corrected="it is their sum, which Definition 4 then puts in its place",
        shown_by="tests/test_errata.py::test_e7",
    ),
    "E8": Erratum(
        where="lecture, Definition 4, last step",
        printed="where rewards are sums of individual utilities, so are the joint action values",
        corrected="they are where each agent's expected utility depends on its own history and action alone; elsewhere "
        "a sum is an approximation: next states that are the exclusive or of two actions leave an interaction of -2",
        shown_by="tests/test_errata.py::test_e8",
    ),
    "E9": Erratum(
        where="lecture, value decomposition in matrix games: definition of monotone decomposability, and its table",
        printed="with derivatives > 0, the game [[0, 0], [0, 10]] counts as monotonically decomposable",
        corrected="it is under derivatives >= 0, not under > 0: two slices tie in one place and differ in another",
        shown_by="tests/test_errata.py::test_e9",
    ),
    "E10": Erratum(
        where="lecture, VDN's table for the monotonic game",
        printed="utilities -0.94 and -1.45 with the joint value -2.43",
        corrected="the second utility is about -1.49, by both sums in which it stands, beyond what rounding allows",
        shown_by="tests/test_errata.py::test_e10",
    ),
    "E11": Erratum(
        where="lecture, QMIX: positive weights by the absolute value, and IGM as an equivalence",
        printed="a joint action maximises the joint value if and only if each of its actions is greedy",
        corrected="zero weights are allowed, so actions that are not greedy may maximise it as well: IGM is judged as "
        "containment, and as an equivalence only where slopes are bounded away from zero",
        shown_by="tests/test_errata.py::test_e11",
    ),
    "E12": Erratum(
        where="book and lecture, individual-global-max property",
        printed="a decomposition with the property is assumed to exist",
        corrected="none exists where the set of best joint actions is no product set, as in [[1, 0], [0, 1]]",
        shown_by="tests/test_errata.py::test_e12",
    ),
    "E13": Erratum(
        where="lecture, Pareto actor-critic: the policy pi_-i^+",
        printed="the others' policies that are best for agent i given its whole policy, then their actions that are "
        "best given its action, as if these were the same",
        corrected="their actions that are best given the action that it drew: the best reply to a policy that seldom "
        "plays A is not A, so that in Climbing the first form ends at (B, B) = 7 and the second at (A, A) = 11",
        shown_by="tests/reference/centralized/test_errata.py::test_e13",
    ),
    "E15": Erratum(
        where="lecture, notation: limited view",
        printed="an agent observes part of the joint action a^t before it chooses its own action of time t",
        corrected="it observes part of a^{t-1}; observing a^t leaves policies that no joint action satisfies",
        shown_by="tests/test_errata.py::test_e15",
    ),
    "E16": Erratum(
        where="lecture, Definitions 1 and 2",
        printed="the initial distribution and the rewards' range are not named; observations follow a joint action, "
        "also the first ones, before which there is none",
        corrected="the distribution is mu, rewards are real, and the first observations have a function of their own, "
        "of the state alone: which joint action one makes up instead changes the expected return",
        shown_by="tests/test_errata.py::test_e16",
    ),
    "E17": Erratum(
        where='listing "QMIX Training", line 18',
        printed="the target's utilities are those of the observations at the same time step",
        corrected="they are those of the next observations: otherwise a value bootstraps from itself and sees no later "
        "reward",
        shown_by="tests/reference/decomposition/test_errata.py::test_e17",
    ),
    "E18": Erratum(
        where='listing "QMIX Training", lines 1, 13, 14 and 17',
        printed="the targets' parameters are not said to be equal to the others at the start; s and s' are drawn from "
        "the buffer but not stored; t never grows; the number of episodes in a batch is also that of their time steps",
        corrected="targets start equal; s and s' are stored; t grows with each time step; an episode b has L^b of them",
        shown_by="tests/reference/decomposition/test_errata.py::test_e18",
    ),
    "E27": Erratum(
        where="tutorial, Nash equilibrium",
        printed="where all agents have the same reward, the Nash equilibria are the Pareto-optimal joint policies",
        corrected="Pareto-optimal ones are equilibria there, but not the reverse: (B, B) of Climbing",
        shown_by="tests/test_errata.py::test_e27",
    ),
    "E30": Erratum(
        where="tutorial, COMA: what the baseline and the advantage are",
        printed="the baseline is the value of some other action of the agent; the advantage is free of the noise of "
        "the others' actions, and the chosen action's is the only one that is not zero",
        corrected="the baseline is the average over all of the agent's actions under its policy, the chosen one among "
        "them: over the others alone it changes the expected gradient. The advantage still depends on the others' "
        "actions, as r = a_1 a_2 shows, and the agent's actions have advantages whose average is zero",
        shown_by="tests/reference/centralized/test_errata.py::test_e30",
    ),
    "D1": Erratum(
        where="book and lecture, Algorithm 18, line 9",
        printed="an episode's sum is weighted by 1/T, its own length",
        corrected="as printed; where the length depends on the actions this is not the gradient of the expected "
        "return: of returns 1 and 5 after 1 and 10 steps it comes to prefer the first",
        shown_by="tests/reference/independent/test_errata.py::test_d1",
    ),
    "D2": Erratum(
        where="lecture, the policy gradient, and Algorithm 18, line 9, against the gradient that NQMIX (Chen) starts "
        "from",
        printed="the first drops the factor gamma^t of time step t, the second keeps it",
        corrected="each as printed; only with the factor is it the gradient of the discounted return from the start, "
        "and without it later steps count as much as if they came first",
        shown_by="tests/reference/independent/test_errata.py::test_d2",
    ),
}


def errata_page() -> str:
    """Return the ledger as Markdown: docs/errata.md."""
    lines = [
        "# Errata of the sources",
        "",
        "Where a source misprints, the corrected form is implemented; a test runs the printed one and sees it fail.",
        "Where the id begins with D, the printed form is debatable but implemented, and a test shows what it does.",
        "Book: Albrecht, Christianos, Schäfer, *Multi-Agent Reinforcement Learning*, MIT Press 2024; lecture: slides;",
        "tutorial: *Reinforcement Learning (9): Multi-Agent Reinforcement Learning*.",
        "This page is made by `python -m marlspec.reference.errata`.",
        "",
        "| id | where | printed, in our words | implemented | shown by |",
        "|---|---|---|---|---|",
    ]
    rows = (
        f"| {name} | {entry.where} | {entry.printed} | {entry.corrected} | `{entry.shown_by}` |"
        for name, entry in ERRATA.items()
    )
    return "\n".join([*lines, *rows]) + "\n"


if __name__ == "__main__":
    print(errata_page(), end="")
