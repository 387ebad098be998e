"""Claims about expected returns and about the optimality operator."""
