"""Published networks of neuroscience, as Graphs."""
