"""SynSense's xylosim, where it is installed, and the reference agree on every state.

``pip install xylosim`` builds it. It is a peer of tests, and no part of us.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from xylo_programs import KINDS, draw_channels, draw_program

from lava_export.xylo.program import XyloProgram
from lava_export.xylo.reference import iterate_steps, lay_out

xylosim = pytest.importorskip("xylosim.v2", reason="pip install xylosim")


def build_peer(program: XyloProgram) -> tuple[Any, Any]:
    """Return the same network as a layer of xylosim, and its synapses.

    The layer points to the synapses and does not own them: they must outlive it.
    """
    chip = lay_out(program)

    def connect(weight: np.ndarray) -> list[list[Any]]:
        return [
            [xylosim.XyloSynapse(int(k), 0, int(row[k])) for k in np.flatnonzero(row)]
            for row in weight
        ]

    synapses = connect(chip.w_in), connect(chip.w_rec), connect(chip.w_out)
    hidden, output = chip.hidden.tolist(), chip.output.tolist()
    layer = xylosim.XyloLayer(
        synapses_in=synapses[0],
        synapses_rec=synapses[1],
        synapses_out=synapses[2],
        aliases=[[] for _ in hidden[0]],
        threshold=hidden[2],
        threshold_out=output[2],
        has_bias=True,
        bias=hidden[3],
        bias_out=output[3],
        weight_shift_inp=program.shift,
        weight_shift_rec=program.shift,
        weight_shift_out=program.shift_out,
        dash_mem=hidden[1],
        dash_mem_out=output[1],
        dash_syns=[[d, 0] for d in hidden[0]],
        dash_syns_out=[[d] for d in output[0]],
        name="peer",
    )
    return layer, synapses


def run_peer(program: XyloProgram, channels: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Yield, by sample, what xylosim recorded: states and spikes, T N."""
    for sample in range(channels.shape[1]):
        layer, _kept = build_peer(program)
        layer.evolve(channels[:, sample])
        yield {
            "hidden.i": np.array(layer.rec_i_syn).T,
            "hidden.v": np.array(layer.rec_v_mem).T,
            "hidden.n": np.array(layer.rec_recurrent_spikes),
            "output.i": np.array(layer.rec_i_syn_out).T,
            "output.v": np.array(layer.rec_v_mem_out).T,
            "output.n": np.array(layer.rec_out_spikes),
        }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_every_state_of_every_step_is_that_of_xylosim(kind: str, seed: int) -> None:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    program, channels = draw_program(rng, kind), draw_channels(rng, 60, 2)
    steps = list(iterate_steps(program, channels))
    moved = 0
    for sample, peer in enumerate(run_peer(program, channels)):
        for key, found in peer.items():
            group, state = key.split(".")
            ours = np.stack([getattr(getattr(s, group), state)[sample] for s in steps])
            np.testing.assert_array_equal(ours, found.astype(np.int64), err_msg=key)
            moved += len(np.unique(ours)) > 1
    assert moved > 6  # most of the twelve states and trains are no constants
