"""Configurations of reasoning: the puzzle, the arm, its curriculum, the network.

An arm is one field. What each does: :mod:`tasks.reasoning.curriculum`.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args, get_origin, get_type_hints

from neuro.nn.recurrent_depth import DepthSizes, list_depth_problems
from tasks.runs.soundness import list_low_fields, refuse_problems

Arm = Literal["none", "cot", "icot", "coconut", "pause", "codi", "diffusion"]
Order = Literal["confidence", "random", "left"]
ORDERS: tuple[Order, ...] = ("confidence", "random", "left")
STEPPED = ("cot", "icot", "coconut", "pause", "codi")  # arms that learn from the steps
STAGED = ("icot", "coconut", "pause")  # arms whose steps go stage by stage
LATENT = ("coconut", "pause", "codi")  # arms that think before they answer


@dataclass(frozen=True, kw_only=True)
class ReasoningConfig(DepthSizes):
    """One training on puzzles.

    Its blocks: see :class:`neuro.nn.mixer_block.BlockSizes`; how often they run:
    :class:`neuro.nn.recurrent_depth.DepthSizes`.

    puzzle: its name in :data:`tasks.reasoning.data.PUZZLES`. size: what makes it hard, as that
        table says; 0: its default.
    data: a folder with files of questions in place of a puzzle, see
        :mod:`drivers.puzzles.files`. data_digest: of these files, which ``neuro train`` writes
        down; "": any.
    seed_of_data: of the items and of their order. train, val, test: numbers of items; of files,
        the first ones (0: all).
    arm: how it learns and answers. latents: thoughts of each stage of the curriculum, so that
        latents x stages come before an answer; in "codi", too.
    stages: of the curriculum, after the first one with all steps. first_epochs: of that one.
        stage_epochs: of each other but the last, which lasts to the end. mix: share of the
        batches that are of a random stage.
    smoothing: lambda of "icot": o further words go with a probability of exp(-lambda o).
    alpha, beta: of "codi", weights of the distillation and of the teacher's own loss.
    order: in which "diffusion" fills the words of an answer, see
        :mod:`tasks.reasoning.denoise`. denoising_steps: calls in which it does; 0: one a word.
    temperature: of its guesses; 0: the likeliest word. mask_question: whether its training
        hides words of questions, too; answers are asked for with the question in sight.
    vocabulary: of the model; 0: that of the items.
    lr, warm, decay, clip: see :class:`neuro.training.Plan`.
    """

    stack: str = "softmax*2"
    hidden: int = 256
    puzzle: str = "reachability"
    size: int = 0
    data: str = ""
    data_digest: str = ""
    seed_of_data: int = 0
    train: int = 4000
    val: int = 200
    test: int = 500
    arm: Arm = "coconut"
    latents: int = 1
    stages: int = 4
    first_epochs: int = 5
    stage_epochs: int = 5
    mix: float = 0.0
    smoothing: float = 4.0
    alpha: float = 1.0
    beta: float = 1.0
    order: Order = "confidence"
    denoising_steps: int = 0
    temperature: float = 0.0
    mask_question: bool = False
    vocabulary: int = 0
    batch: int = 64
    epochs: int = 40
    lr: float = 1e-3
    warm: float = 0.05
    decay: float = 0.01
    clip: float = 1.0

    @property
    def last_stage_epoch(self) -> int:
        """The epoch with which the last stage of the curriculum begins."""
        return self.first_epochs + (self.stages - 1) * self.stage_epochs

    @property
    def thoughts(self) -> int:
        """Number of latents before an answer."""
        return self.latents * self.stages if self.arm in LATENT else 0


def require_sound(config: ReasoningConfig) -> None:
    """Raise a ValueError that lists what does not fit in a configuration, each with its cure.

    Fields are set one by one, so it is checked where data or a model are made of them.
    """
    refuse_problems(list_problems(config))


def list_problems(config: ReasoningConfig) -> list[str]:
    """Return what does not fit, each with its cure."""
    least = {
        **dict.fromkeys(("width", "hidden", "heads", "ticks", "batch", "epochs"), 1),
        **dict.fromkeys(("stages", "first_epochs", "stage_epochs"), 1),
        **dict.fromkeys(("train", "val", "test"), 0 if config.data else 1),
        **dict.fromkeys(("limit", "size", "latents", "vocabulary", "denoising_steps"), 0),
        "seed_of_data": 0,
    }
    problems = list_low_fields(config, least)
    problems += [
        f"{name} is {getattr(config, name)}; give a finite number >= 0"
        for name in ("alpha", "beta", "temperature")
        if not 0 <= getattr(config, name) < math.inf
    ]
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal and getattr(config, name) not in get_args(kind):
            choices = ", ".join(map(str, get_args(kind)))
            problems.append(f"{name} is {getattr(config, name)!r}; give one of {choices}")
    last = config.last_stage_epoch
    wrong = {
        f"depth is {config.depth}, and diffusion reads both ways, with no core that recurs; "
        "set depth=0, or another arm": config.depth > 0 and config.arm == "diffusion",
        f"epochs is {config.epochs}, and the last stage of the curriculum begins after {last} "
        "(first_epochs, and stage_epochs for each other one before it); give more "
        "epochs": config.arm in STAGED and config.epochs <= last,
        f"eps is {config.eps}; give a finite number > 0": not 0 < config.eps < math.inf,
        f"mix is {config.mix}; give a share, 0 to 1": not 0 <= config.mix <= 1,
        f"smoothing is {config.smoothing}; give a number > 0": not config.smoothing > 0,
        'mask_question is set, and only arm "diffusion" hides words; set arm=diffusion, or '
        "mask_question=false": config.mask_question and config.arm != "diffusion",
    }
    problems += [text for text, is_so in wrong.items() if is_so]
    try:
        _ = config.layers
    except ValueError as error:
        problems.append(str(error))
    return problems + list_depth_problems(config)


def tiny() -> ReasoningConfig:
    """A continuous thought in the place of a hop back in a text: trains in ten seconds."""
    return ReasoningConfig(
        stack="deltanet+softmax",
        width=32,
        hidden=64,
        heads=2,
        puzzle="hops",
        size=1,
        train=800,
        val=50,
        test=100,
        batch=25,
        stages=1,
        first_epochs=3,
        epochs=6,
        lr=5e-3,
    )


def tiny_spiking() -> ReasoningConfig:
    """Pauses in a spiking network without multiplications, which every executor runs.

    On graphs, of which it learns little in its seconds.
    """
    return replace(
        tiny(),
        arm="pause",
        stack="mlgru*2",
        linear="spiking",
        puzzle="reachability",
        size=0,
        train=400,
        batch=50,
        stages=4,
        first_epochs=1,
        stage_epochs=1,
        lr=3e-3,
    )


def sudoku() -> ReasoningConfig:
    """Sudoku of 4 x 4 cells by masked diffusion: some minutes."""
    return replace(
        ReasoningConfig(),
        puzzle="sudoku",
        size=8,
        arm="diffusion",
        stack="softmax*3",
        width=64,
        hidden=128,
        train=8000,
        val=100,
        test=200,
        batch=32,
        epochs=9,
        lr=3e-3,
    )


def tiny_depth() -> ReasoningConfig:
    """A spiking core that recurs, with s as a membrane, which every executor runs."""
    return replace(
        tiny_spiking(),
        arm="none",
        puzzle="addition",
        size=4,
        stack="mlgru",
        depth=4,
        injection="membrane",
    )


def huginn() -> ReasoningConfig:
    """Huginn-0125 at full size, without its weights (Geiping et al. 2025, arXiv 2502.05171)."""
    return ReasoningConfig(
        arm="none",
        prelude="softmax*2",
        stack="softmax*4",
        coda="softmax*2",
        width=5280,
        hidden=17_920,
        heads=55,
        limit=4096,
        vocabulary=65_536,
        depth=32,
        depth_sampling="poisson",
        sandwich=True,
        exit_kl=5e-4,
        tied=True,
    )


def reachability() -> ReasoningConfig:
    """Continuous thoughts on graphs of 8 nodes: two minutes.

    The convolutions of DeltaNet bind the two ends of an edge, which softmax attention behind it
    finds again; either mixer alone takes many more items.
    """
    return ReasoningConfig(
        stack="deltanet+softmax",
        width=64,
        hidden=128,
        size=8,
        train=8000,
        stages=2,
        first_epochs=3,
        stage_epochs=2,
        epochs=11,
        lr=3e-3,
    )


def coconut() -> ReasoningConfig:
    """The network of 14 M parameters of "Reasoning by Superposition": hours on a GPU.

    Two layers of 8 heads and width 768, 40 words, a thought for each of four steps; batches of
    128, of a random stage in a tenth (Zhu et al. 2025, arXiv 2505.12514). The gated linear unit
    has as many weights as GPT-2's unit of 4 x 768 channels.
    """
    return ReasoningConfig(
        width=768,
        heads=8,
        hidden=2048,
        vocabulary=40,
        train=14_000,
        val=300,
        batch=128,
        lr=1e-4,
        mix=0.1,
        first_epochs=25,
        stage_epochs=25,
        epochs=300,
    )


def multiplication() -> ReasoningConfig:
    """Products of two-digit numbers by distilled thoughts (CODI): two minutes."""
    return replace(
        reachability(),
        puzzle="multiplication",
        size=2,
        train=6000,
        test=400,
        arm="codi",
        first_epochs=6,
        epochs=14,
    )
