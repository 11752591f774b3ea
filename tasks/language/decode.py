"""``neuro bench decode``: a packed model generates text, compared with others of its size.

Compared are three forms of the MatMul-free model with ternary weights (packed, as trained, and
in plain torch with weights rounded once), and a transformer of equal size with float32 weights
and a cache. ``litespark-inference`` computes the same ternary maps in its own C++. One thread.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.seeds import seeded
from neuro.mixers import layer_floors
from neuro.nn.ternary import EPS, BitLinear, PackedLinear, pack_model, round_weights
from neuro.ops.ternary import multiply_packed, pack_ternary
from tasks.bench.comparison import Case, Pair, measure_case
from tasks.bench.harness import Build, Run
from tasks.bench.memory import measure_resident
from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row, find_ratio
from tasks.bench.stopwatch import repeat
from tasks.language.config import LanguageConfig
from tasks.language.model import LanguageModel

OURS, TRAINED, LOOP = "neuro, packed", "neuro, not packed", "torch, step loop"
ATTENTION, FLOAT, LITESPARK = "torch, transformer", "torch, float32", "litespark-inference"
TOKENS, MILLISECONDS = "tokens/s", "ms"
PEER = "litespark_inference.torchless"
INSTALL = "pip install --no-deps litespark-inference (it compiles itself with g++)"
# Least ratios that we aim for: speed and memory against other forms, speed against litespark.
FASTER, SMALLER, BESIDE = 2.0, 8.0, 1.0
Step = Callable[[Tensor, Any], tuple[Tensor, Any]]  # (tokens T B, state) -> (logits, state)


@dataclass(frozen=True, kw_only=True)
class DecodeSize:
    """Sizes of a model, of its prompt, and of the text that it writes [tokens]."""

    layers: int = 6
    width: int = 1024
    hidden: int = 2816
    vocabulary: int = 4096
    prompt: int = 64
    tokens: int = 4

    def config(self, mixer: str = "mlgru") -> LanguageConfig:
        """Return the configuration: ternary for "mlgru", float32 weights for other mixers."""
        return LanguageConfig(
            stack=f"{mixer}*{self.layers}",
            width=self.width,
            hidden=self.hidden,
            vocabulary=self.vocabulary,
            linear="ternary" if mixer == "mlgru" else "float",
        )


SIZE, SMALL = DecodeSize(), DecodeSize(layers=2, width=64, hidden=96, vocabulary=256, prompt=3)


def write_text(size: DecodeSize, form: str, threads: int) -> Run:
    """Return a run of one of the :data:`FORMS`, always from the end of the same prompt.

    The memory of the run includes the model, but not compiled code.
    """
    torch.set_num_threads(threads)
    pack_model(_make(SMALL.config()))(torch.zeros(2, 1, dtype=torch.int64))  # compiles
    before = measure_resident()
    model, prompt = FORMS[form](size), torch.arange(size.prompt)[:, None] % 256

    @torch.inference_mode()
    def begin() -> tuple[Tensor, Any]:
        return model(prompt, None)

    start = begin()
    measure_resident()  # returns the memory that building the model took

    @torch.inference_mode()
    def once() -> tuple[int, int]:
        write(model, start, size.tokens)
        return size.tokens, 0

    return repeat(once, before)


def _make(config: LanguageConfig) -> LanguageModel:
    with seeded(0):
        return LanguageModel(config).eval()


class Rounded(nn.Module):
    """A ternary map in plain torch, with weights rounded once and kept in float32."""

    def __init__(self, layer: BitLinear) -> None:
        super().__init__()
        signs, scale = round_weights(layer.weight.detach())
        self.weight, self.gain, self.eps = signs * scale, layer.gain, layer.eps
        self.quantise = layer.quantise

    def forward(self, x: Tensor) -> Tensor:
        """Return the product of the rounded weights and the quantised input."""
        normal = F.rms_norm(x, x.shape[-1:], self.gain, self.eps)
        whole, scale = self.quantise(normal)
        return F.linear(whole * scale, self.weight)


class StepLoop:
    """The MatMul-free model in plain torch, token by token, without compiled loops."""

    def __init__(self, model: LanguageModel) -> None:
        self.model: Any = pack_model(model, Rounded)
        floors: Any = model.floors
        self.floors = layer_floors(floors).detach()

    def run(self, tokens: Tensor, state: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Return (logits of all tokens, hidden state of each layer after the last token)."""
        out = []
        for token in tokens:
            logits, state = self.step(token, state)
            out.append(logits)
        return torch.stack(out), state or []

    def step(self, token: Tensor, state: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Return (logits, hidden state of each layer) after one token."""
        x, after = self.model.embedding(token), []
        for k, block in enumerate(self.model.blocks):
            mixer, normal = block.mixer, block.mixer_norm(x)
            f = self.floors[k] + (1 - self.floors[k]) * torch.sigmoid(mixer.forget(normal))
            h = (1 - f) * F.silu(mixer.candidate(normal))
            h = h if state is None else h + f * state[k]
            x = x + mixer.output(mixer.norm(mixer.gate(normal)) * F.silu(h))
            gate, value = block.up(block.unit_norm(x)).chunk(2, -1)
            x = x + block.down(F.silu(gate) * value)
            after.append(h)
        return self.model.head(self.model.norm(x)), after


FORMS: Mapping[str, Callable[[DecodeSize], Step]] = {
    OURS: lambda size: pack_model(_make(size.config())),
    TRAINED: lambda size: _make(size.config()),  # rounds its weights each time
    LOOP: lambda size: StepLoop(_make(size.config())).run,
    ATTENTION: lambda size: _make(size.config("softmax")),  # its state is a cache
}


def write(model: Step, start: tuple[Tensor, Any], tokens: int) -> list[int]:
    """Write ``tokens`` tokens from (logits, state), each the most probable one."""
    logits, state = start
    out: list[int] = []
    for _ in range(tokens):
        token = logits[-1].argmax(-1)
        out.append(int(token))
        logits, state = model(token[None], state)
    return out


def list_maps(size: DecodeSize) -> list[tuple[int, int]]:
    """Return (inputs, outputs) of each ternary map that a token passes, in order."""
    with torch.device("meta"):
        model = LanguageModel(size.config())
    layers = [m for m in model.modules() if isinstance(m, BitLinear)]
    return [(m.weight.shape[1], m.weight.shape[0]) for m in layers]


def _draw(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights and inputs that all compared programs share."""
    rng = np.random.default_rng(inputs * outputs)
    weight = rng.integers(-1, 2, (outputs, inputs)).astype(np.int8)
    return weight, rng.integers(-127, 128, inputs).astype(np.int8)


def maps(shapes: list[tuple[int, int]], threads: int) -> Run:
    """Return a run of our ternary maps for one token: norm, rounding to 8 bits, product."""
    torch.set_num_threads(threads)
    layers, rows = [], []
    for inputs, outputs in shapes:
        weight, x = _draw(inputs, outputs)
        layer = PackedLinear(inputs, outputs)
        layer.packed = torch.from_numpy(pack_ternary(weight))
        layer.scale.fill_(1.0)
        layer.gain.fill_(1.0)
        layers.append(layer)
        rows.append(torch.from_numpy(x).float()[None])

    @torch.inference_mode()
    def once() -> tuple[int, int]:
        for layer, x in zip(layers, rows, strict=True):
            layer(x)
        return len(layers), 0

    return repeat(once)


def litespark_maps(shapes: list[tuple[int, int]], threads: int) -> Run:  # noqa: ARG001
    """Return a run of litespark's maps; litespark reads its threads from the environment."""
    kernel, pack = load_litespark()
    layers = []
    for inputs, outputs in shapes:
        weight, x = _draw(inputs, outputs)
        ones = np.full(inputs, 0x3F80, np.uint16)  # 1 in bfloat16
        buffers = np.empty(inputs, np.int8), np.empty(inputs, np.float32)
        layers.append((x.astype(np.float32), ones, *buffers, pack(weight)))

    def once() -> tuple[int, int]:
        for x, gain, whole, work, codes in layers:
            scale = kernel.rmsnorm_quantize_into(x, gain, whole, work, EPS)
            kernel.matmul_packed_m1(whole, codes, 1.0, scale)
        return len(layers), 0

    return repeat(once)


def product(shape: tuple[int, int], threads: int) -> Run:
    """Return a run of our product of a packed matrix and an 8-bit vector."""
    weight, x = _draw(*shape)
    codes, row = pack_ternary(weight), x[None]
    return _multiply(weight, x, lambda: multiply_packed(codes, row)[0], threads)


def litespark_product(shape: tuple[int, int], threads: int) -> Run:
    """Return a run of litespark's product of the same matrix and vector."""
    kernel, pack = load_litespark()
    weight, x = _draw(*shape)
    codes = pack(weight)
    return _multiply(weight, x, lambda: kernel.matmul_packed_m1(x, codes, 1.0, 1.0), threads)


def float_product(shape: tuple[int, int], threads: int) -> Run:
    """Return a run of torch's product of the same matrix and vector in float32."""
    torch.set_num_threads(threads)
    weight, x = _draw(*shape)
    matrix, vector = torch.from_numpy(weight).float(), torch.from_numpy(x).float()
    return _multiply(weight, x, lambda: torch.mv(matrix, vector).numpy(), threads)


def _multiply(
    weight: np.ndarray, x: np.ndarray, once: Callable[[], np.ndarray], threads: int
) -> Run:
    """Check the result of a product, then return its run."""
    if not np.array_equal(once(), weight.astype(np.int32) @ x.astype(np.int32)):
        raise ValueError(f"the product is another, with {threads} threads")

    def counted() -> tuple[int, int]:
        once()
        return weight.size, 0

    return repeat(counted)


def load_litespark() -> tuple[Any, Any]:
    """Return litespark's kernels, and the function that packs weights for them.

    Raises:
        RuntimeError: litespark is not installed; the message says how to install it.
    """
    try:
        kernel, pack = (import_module(f"{PEER}.{part}") for part in ("kernel", "pack"))
    except ModuleNotFoundError as error:
        raise RuntimeError(f"{error.name} is not installed; {INSTALL}") from error
    return kernel, pack.pack_ternary_4_per_byte


def generation(quick: bool) -> list[Case]:
    """Return the case that compares speed and memory of a packed model and three others."""
    size = SMALL if quick else SIZE
    subjects: dict[str, Build] = {name: partial(write_text, size, name) for name in FORMS}
    times = [Pair(OURS, (peer,), FASTER) for peer in subjects if peer != OURS]
    sizes = [pair._replace(target=SMALLER, by="memory") for pair in times]
    weights = sum(inputs * outputs for inputs, outputs in list_maps(size))
    return [
        Case(
            name=f"generation, {weights / 1e6:.0f} M ternary weights",
            subjects=subjects,
            pairs=(*times, *sizes),
            unit=TOKENS,
            per=1e-3 * size.tokens,
            conditions={**vars(size), "batch": 1},
        )
    ]


def layers(quick: bool) -> list[Case]:
    """Return the case that compares the ternary maps for one token with litespark's."""
    shapes = list_maps(SMALL if quick else SIZE)
    weights = sum(inputs * outputs for inputs, outputs in shapes)
    return [
        Case(
            name=f"ternary maps of a token, {weights / 1e6:.0f} M weights",
            subjects={OURS: partial(maps, shapes), LITESPARK: partial(litespark_maps, shapes)},
            pairs=(Pair(OURS, (LITESPARK,), BESIDE),),
            unit=MILLISECONDS,
            per=1e-3,
            conditions={"maps": len(shapes), "batch": 1},
        )
    ]


def matrix(quick: bool) -> list[Case]:
    """Return the case that compares the product of one matrix and a vector."""
    side = 64 if quick else 2048
    subjects: dict[str, Build] = {
        OURS: partial(product, (side, side)),
        LITESPARK: partial(litespark_product, (side, side)),
        FLOAT: partial(float_product, (side, side)),
    }
    return [
        Case(
            name=f"matrix times vector, {side} x {side}",
            subjects=subjects,
            pairs=(Pair(OURS, (LITESPARK,), BESIDE), Pair(OURS, (FLOAT,), FASTER)),
            unit=MILLISECONDS,
            per=1e-3,
            conditions={"batch": 1},
        )
    ]


CASES: Mapping[str, Callable[[bool], list[Case]]] = {
    "matrix": matrix,
    "layers": layers,
    "generation": generation,
}


def iterate_rows(part: str, options: BenchOptions) -> Iterator[Row]:
    """Yield the rows of a part: median CPU and wall times, and memory."""
    for case in CASES[part](options.quick):
        for row in measure_case(case, options.repeats):
            if row.unit == "MB":
                yield row
            else:
                yield from (
                    take_median(row, clock, options.repeats) for clock in ("cpu", "wall")
                )


def take_median(row: Row, clock: str, repeats: int) -> Row:
    """Return a row with the median times of a clock [ms], or tokens per second for text."""
    ours, theirs = times = [
        row.conditions[side][clock]["median"] if row.conditions.get(side) else None
        for side in ("ours", "theirs")
    ]
    shown = [1e3 / t if t and row.unit == TOKENS else t for t in times]
    return replace(
        row,
        case=f"{row.case}, {'CPU' if clock == 'cpu' else clock} time",
        ours=shown[0],
        theirs=shown[1],
        ratio=find_ratio(ours, theirs),
        conditions={**row.conditions, "time": f"{clock}, median of {repeats}"},
    )
