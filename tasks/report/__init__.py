"""What a run found, as tables for the terminal and as one page with figures."""
