"""The processor's sum of 2-bit codes times bytes, against NumPy; and where it is not used."""

import numba
import numpy as np
import pytest
from llvmlite import binding

from neuro.ops.jit import kernel
from neuro.ops.ternary import BYTES, dot_codes, has_dot_product

needs_it = pytest.mark.skipif(not has_dot_product(), reason="the processor has no VPDPBUSD")


@kernel
def sum_products(packed: np.ndarray, m: int, planes: np.ndarray, t: int, blocks: int) -> int:
    """Return the sum for one row and one token."""
    return dot_codes(packed, m, planes, t, blocks)  # type: ignore[call-arg]


def expect_sum(packed: np.ndarray, planes: np.ndarray, blocks: int) -> int:
    """Return the same for one row (J) and one token (4 J), in Python."""
    width = BYTES * blocks
    codes = np.stack([packed[:width] >> 2 * k & 3 for k in range(4)]).astype(int)
    return int((codes * planes[:, :width].astype(int)).sum())


@needs_it
@pytest.mark.parametrize("width", [BYTES, BYTES + 1, 3 * BYTES, 5 * BYTES + 31])
def test_sums_of_codes_times_numbers_are_exact(width: int) -> None:
    rng = np.random.default_rng(width)
    packed = rng.integers(0, 256, (3, width), np.uint8)
    planes = rng.integers(-128, 128, (2, 4, width), np.int8)
    for m in range(3):
        for t in range(2):
            for blocks in range(width // BYTES + 1):
                want = expect_sum(packed[m], planes[t], blocks)
                assert sum_products(packed, m, planes, t, blocks) == want


@needs_it
@pytest.mark.parametrize(("code", "number"), [(255, -128), (255, 127), (0, -128), (192, -128)])
def test_sums_at_the_ends_of_the_range_do_not_saturate(code: int, number: int) -> None:
    packed = np.full((1, 64 * BYTES), code, np.uint8)
    planes = np.full((1, 4, 64 * BYTES), number, np.int8)
    codes = sum(code >> 2 * k & 3 for k in range(4))
    assert sum_products(packed, 0, planes, 0, 64) == codes * number * 64 * BYTES


def test_it_is_used_only_where_numba_compiles_for_a_processor_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("DISABLE_JIT", 0), ("CPU_NAME", None), ("CPU_FEATURES", None)):
        monkeypatch.setattr(numba.config, name, value)
    for have, want in (
        ({"avxvnni": True}, True),
        ({"avx512vnni": True, "avx512vl": True}, True),
        ({"avx512vnni": True, "avx512vl": False}, False),
        ({"avx512vl": True}, False),
        ({}, False),
    ):
        monkeypatch.setattr(binding, "get_host_cpu_features", lambda have=have: have)
        assert has_dot_product() is want
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: {"avxvnni": True})
    for name in ("DISABLE_JIT", "CPU_NAME", "CPU_FEATURES"):
        with monkeypatch.context() as patch:
            patch.setattr(numba.config, name, "generic")
            assert has_dot_product() is False
    assert has_dot_product() is True
