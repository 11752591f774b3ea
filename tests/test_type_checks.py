"""Annotations are checked in tests."""

import jaxtyping
import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError
from type_checks import check

from neuro import Graph, Seconds, spikes
from tasks.driving import lift_splat


def test_the_code_under_test_is_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation, match="Graph"):
        Graph(nodes=1, edges=(), dt=Seconds(1e-3))  # type: ignore[arg-type]
    with pytest.raises(TypeCheckError, match="pooled"):
        lift_splat.fuse_frames(np.zeros(3), 0.5)  # type: ignore[arg-type]
    assert hasattr(spikes.to_events, "__wrapped__")


def test_types_are_checked_on_the_way_in_and_out_unless_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @check
    def halve(x: int) -> int:
        return x / 2  # type: ignore[return-value]

    for given in ("2", 3):
        with pytest.raises(BeartypeCallHintViolation, match="halve"):
            halve(given)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert halve(3) == 1.5
