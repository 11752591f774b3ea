"""Slips are written here as users run the code."""

import jaxtyping
import pytest


@pytest.fixture(autouse=True)
def types_are_checked_by_the_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In tests beartype would be there first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
