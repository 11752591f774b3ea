"""What all packages share: units, argument checks, seeds, and the text of messages."""
