"""Annotations are checked in tests."""

import jaxtyping
import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from type_checks import check

from neuro import Graph, Seconds, spikes
from tasks.driving import lift_splat


def test_the_code_under_test_is_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation, match="Graph"):
        Graph(nodes=1, edges=(), dt=Seconds(1e-3))  # type: ignore[arg-type]
    with pytest.raises(BeartypeCallHintViolation, match="pooled"):
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


def test_axes_of_one_name_are_equal_within_a_call_and_free_in_the_next() -> None:
    Row = Float[np.ndarray, " N"]

    @check
    def join(one: Row, other: Row, length: int) -> Row:
        return np.concatenate([one, other])[:length]

    for length in (2, 3):
        assert join(np.ones(length), np.ones(length), length).size == length
    for sizes in ((2, 3, 2), (2, 2, 3)):
        with pytest.raises(BeartypeCallHintViolation, match="join"):
            join(np.ones(sizes[0]), np.ones(sizes[1]), sizes[2])
