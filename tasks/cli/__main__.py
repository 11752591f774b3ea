"""``python -m tasks.cli``."""

from tasks.cli.parser import main

main()
