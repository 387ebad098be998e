"""Claims about equilibria and Pareto optimality: solvers and checks, judged by exact regret."""
