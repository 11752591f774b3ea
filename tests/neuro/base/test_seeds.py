"""A block has a stream of its own, that of torch.manual_seed; outside nothing changes."""

import pytest
import torch

from neuro.base.seeds import derive_seed, seeded


@pytest.mark.parametrize("accelerated", [False, True])
def test_a_block_draws_what_manual_seed_gives_and_restores_the_generator(
    accelerated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerated)
    want = torch.rand(3, generator=torch.Generator().manual_seed(7))
    before = torch.get_rng_state()
    with seeded(7):
        assert torch.equal(torch.rand(3), want)
        with seeded(8):
            assert not torch.equal(torch.rand(3), want)
        assert not torch.equal(torch.rand(3), want)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_of_steps_differ_in_every_number_and_are_those_of_numpy() -> None:
    assert derive_seed(1, 2, 3, 4) == 4_251_844_491
    others = [(0, 2, 3, 4), (1, 0, 3, 4), (1, 2, 0, 4), (1, 2, 3, 0), (2, 1, 3, 4)]
    assert len({derive_seed(1, 2, 3, 4), *(derive_seed(*other) for other in others)}) == 6
