"""Results of a run, as tables for the terminal and as one page with figures."""
