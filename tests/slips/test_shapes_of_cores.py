"""Cores of mixers given shapes that do not fit: compiled loops would leave their arrays."""

import pytest
import torch
from mixer_cases import CORES, Core, draw_from

from neuro.mixers import HGRN, HGRN2, Mixer

EVERY = pytest.mark.parametrize("core", CORES.values(), ids=CORES)


@EVERY
@pytest.mark.parametrize("tokens", [4, 40])
def test_one_more_along_any_axis_of_any_argument_is_refused(core: Core, tokens: int) -> None:
    given = core.make(tokens, 1.0, draw_from(5))
    for which, x in enumerate(given):
        for axis in range(x.dim()):
            longer = torch.cat([x, x.narrow(axis, 0, 1)], axis)
            wrong = (*given[:which], longer, *given[which + 1 :])
            for form in (core.fast, core.slow):
                with pytest.raises(ValueError, match="has shape"):
                    form(*wrong)


@EVERY
@pytest.mark.parametrize("axis", [0, 1])
def test_an_axis_without_entries_is_refused(core: Core, axis: int) -> None:
    given = [x.narrow(axis, 0, 0) for x in core.make(4, 1.0, draw_from(5))]
    for form in (core.fast, core.slow):
        with pytest.raises(ValueError, match="an empty one"):
            form(*given)


@EVERY
def test_an_axis_less_is_refused(core: Core) -> None:
    given = [x.flatten() for x in core.make(4, 1.0, draw_from(5))]
    for form in (core.fast, core.slow):
        with pytest.raises(ValueError, match=r"axes T B .*\(\d+,\)"):
            form(*given)


@EVERY
def test_a_state_of_other_samples_is_refused(core: Core) -> None:
    *rows, state = core.make(1, 1.0, draw_from(6))
    wrong = state[:, :1] if core is CORES["softmax"] else state[:1]
    with pytest.raises(ValueError, match="has shape"):
        core.fast(*rows, wrong)


@pytest.mark.parametrize("mixer", [HGRN(32), HGRN2(32)])
def test_a_floor_of_another_width_is_refused(mixer: Mixer) -> None:
    with pytest.raises(ValueError, match=r"HGRN2?: floor has shape \(1,\)"):
        mixer(torch.zeros(4, 1, 32), floor=torch.zeros(1))


def test_a_mixer_refuses_no_sample() -> None:
    with pytest.raises(ValueError, match="at least one token and sample"):
        HGRN2(32)(torch.zeros(4, 0, 32))
