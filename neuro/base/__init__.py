"""What all packages share: units, checks of arguments, seeds, texts of messages."""
