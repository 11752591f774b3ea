"""What is trained: six linear mixers, with more or fewer layers of softmax attention, by seed.

Published stacks have 24 layers and more, with one of softmax attention behind 24, 12, 6 or 3
linear ones (Wang et al. 2025, arXiv 2507.06457). Here are eight layers, of which none, one,
two, four or all are softmax: pure linear, 7:1, 3:1, 1:1, and the reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasks.language.config import LanguageConfig
from tasks.language.recall import TASKS, RecallSizes

Part = Literal["recall", "text"]
TEXT = "text"
TRAINED: dict[Part, tuple[str, ...]] = {"recall": tuple(TASKS), "text": (TEXT,)}
VARIANTS = {  # titles of the linear mixers of a stack
    "hgrn": "HGRN",
    "retnet": "RetNet",
    "gla": "GLA",
    "hgrn2": "HGRN-2",
    "deltanet": "DeltaNet",
    "gdn": "GatedDeltaNet",
}
SOFTMAX = "softmax"
PURE = "pure"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large everything is.

    layers: of a stack. softmax: how many of them are, in stacks with linear ones; each divides
    layers. width, hidden, heads: see :class:`tasks.language.config.LanguageConfig`. seeds:
    trainings of a stack. sizes: of the recall tasks. steps, samples, lr: of a training on one
    of them. tested: samples in its test. text_tokens, text_lanes, text_steps, text_lr: of a
    training on text. held_out: bytes that are measured.
    """

    layers: int = 8
    softmax: tuple[int, ...] = (0, 1, 2, 4)
    width: int = 48
    hidden: int = 48
    heads: int = 2
    seeds: tuple[int, ...] = (0, 1, 2)
    sizes: RecallSizes = field(default_factory=RecallSizes)
    steps: int = 1000
    samples: int = 32
    lr: float = 3e-3
    tested: int = 200
    text_tokens: int = 64
    text_lanes: int = 32
    text_steps: int = 200
    text_lr: float = 5e-3
    held_out: int = 60_000


FULL = Scale()
QUICK = Scale(
    layers=4,
    softmax=(0, 1, 2),
    width=16,
    hidden=16,
    heads=2,
    seeds=(0,),
    sizes=RecallSizes(tokens=20, keys=8, values=8, pairs=4, needles=2, chains=2, hops=1),
    steps=3,
    samples=6,
    tested=10,
    text_tokens=16,
    text_lanes=4,
    text_steps=3,
    held_out=2000,
)


@dataclass(frozen=True, kw_only=True)
class HybridCell:
    """One training: of a stack with so many softmax layers.

    task: of synthetic recall, or "text". variant: the mixer of the other layers; "softmax"
    where there are none.
    """

    task: str
    variant: str
    softmax: int
    seed: int


def list_cells(part: Part, scale: Scale) -> list[HybridCell]:
    """Return the cells of a part, all of a seed before the next, the reference first."""
    stacks = [(SOFTMAX, scale.layers)]
    stacks += [(variant, n) for n in scale.softmax for variant in VARIANTS]
    return [
        HybridCell(task=task, variant=variant, softmax=n, seed=seed)
        for seed in scale.seeds
        for task in TRAINED[part]
        for variant, n in stacks
    ]


def make_stack(variant: str, layers: int, softmax: int) -> str:
    """Return a stack, its softmax layers at equal distances, the last of them at the end.

    >>> make_stack("gla", 8, 2)
    'gla*3+softmax+gla*3+softmax'
    >>> make_stack("gla", 8, 0), make_stack("gla", 2, 1), make_stack("softmax", 8, 8)
    ('gla*8', 'gla*1+softmax', 'softmax*8')

    Raises:
        ValueError: the layers are no multiple of the softmax ones.
    """
    if softmax in (0, layers):
        return f"{SOFTMAX if softmax else variant}*{layers}"
    if layers % softmax:
        raise ValueError(f"{layers} layers are no multiple of {softmax} softmax layers")
    return "+".join([f"{variant}*{layers // softmax - 1}+{SOFTMAX}"] * softmax)


def name_ratio(layers: int, softmax: int) -> str:
    """Return linear to softmax layers, such as "3:1".

    >>> name_ratio(8, 0), name_ratio(8, 2), name_ratio(8, 8)
    ('pure', '3:1', 'softmax')
    """
    if softmax in (0, layers):
        return SOFTMAX if softmax else PURE
    return f"{(layers - softmax) // softmax}:1"


class WindowConfig(LanguageConfig):
    """A configuration whose models begin anew with each batch, whatever their mixers."""

    @property
    def carries(self) -> bool:
        """False."""
        return False


def make_config(cell: HybridCell, scale: Scale) -> WindowConfig:
    """Return model and training of a cell."""
    text = cell.task == TEXT
    return WindowConfig(
        stack=make_stack(cell.variant, scale.layers, cell.softmax),
        width=scale.width,
        hidden=scale.hidden,
        heads=scale.heads,
        vocabulary=256 if text else scale.sizes.vocabulary,
        tokens=scale.text_tokens if text else scale.sizes.tokens,
        lanes=scale.text_lanes if text else scale.samples,
        steps=scale.text_steps if text else scale.steps,
        lr=scale.text_lr if text else scale.lr,
        held_out=scale.held_out,
        validations=1,
    )


def count_share(cells: Sequence[HybridCell], variant: str, layers: int) -> float:
    """Return how many whole stacks the layers of one mixer in some cells make up."""
    own = [
        c.softmax if variant == SOFTMAX else (layers - c.softmax) * (c.variant == variant)
        for c in cells
    ]
    return sum(own) / layers
