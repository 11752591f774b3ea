"""Language: models of text."""
