"""Solution concepts: expected returns, equilibria, Pareto optimality, each decided exactly where that is possible."""
