"""``neuro bench hybrids``: linear mixers with some softmax layers between."""
