"""Shows the results of a run: as tables in the terminal, and as one page with figures."""
