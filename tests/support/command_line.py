"""The command line, as tests run it."""

from dataclasses import dataclass

import pytest

from tasks.cli import main


@dataclass(frozen=True)
class CommandLine:
    """Runs ``neuro`` with words of any type, and returns what it prints."""

    capsys: pytest.CaptureFixture[str]

    def run(self, *words: object) -> str:
        self.capsys.readouterr()
        main([str(word) for word in words])
        return self.capsys.readouterr().out

    def end(self, code: int, *words: object) -> tuple[str, str]:
        """Return output and errors of a command that ends with a code."""
        self.capsys.readouterr()
        with pytest.raises(SystemExit, match=f"^{code}$"):
            main([str(word) for word in words])
        return self.capsys.readouterr()

    def refuse(self, *words: object) -> str:
        """Return the error of a command that ends with 2, in one line."""
        return " ".join(self.end(2, *words)[1].split())
