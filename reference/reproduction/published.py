"""What the lecture prints for its small games, to set our own results beside; nothing is computed from it.

Source: the slides to Albrecht, Christianos, Schäfer 2024, lecture "Multi-agent deep reinforcement learning, part 1",
value decomposition in matrix games (the book's figures 9.10 to 9.15). The joint tables are comparable; the utilities
behind them are not unique. Of the two-step game it is the table of the first state, with agent 1's moves in rows.
"""

Table = tuple[tuple[float, ...], ...]

PUBLISHED: dict[tuple[str, str], Table] = {
    ("vdn", "linear"): ((1.00, 5.00), (5.00, 9.00)),
    ("qmix", "linear"): ((1.00, 5.00), (5.00, 9.00)),
    ("vdn", "monotonic"): ((-2.43, 2.51), (2.60, 7.53)),
    ("qmix", "monotonic"): ((0.00, 0.00), (0.00, 10.00)),
    ("vdn", "climbing"): ((-8.84, -8.43, -1.00), (-10.66, -10.25, -2.82), (0.75, 1.16, 8.59)),
    ("vdn", "two-step-book"): ((9.03, 9.04), (7.53, 7.54)),
    ("qmix", "two-step-book"): ((9.00, 9.00), (10.00, 10.00)),
    ("qmix", "climbing"): ((-11.16, -11.16, -11.16), (-11.15, 2.34, -1.37), (-4.95, 8.72, 5.01)),
}
