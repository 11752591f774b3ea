"""Configurations of reasoning: the puzzle, the arm, its curriculum, the network.

The field ``arm`` selects what is compared: see :mod:`tasks.reasoning.curriculum`.
"""

from dataclasses import dataclass, replace
from typing import Literal

from neuro.base.bounds import Count, Natural, NotNegative, Positive, Share
from neuro.nn.mixer_block import list_linear_problems
from neuro.nn.recurrent_depth import DepthSizes, list_depth_problems
from tasks.runs.configuration import ClippedConfig

Arm = Literal["none", "cot", "icot", "coconut", "pause", "codi", "diffusion"]
Order = Literal["confidence", "random", "left"]
ORDERS: tuple[Order, ...] = ("confidence", "random", "left")
STEPPED = ("cot", "icot", "coconut", "pause", "codi")  # arms that learn from the steps
STAGED = ("icot", "coconut", "pause")  # arms that remove the steps stage by stage
LATENT = ("coconut", "pause", "codi")  # arms that think before they answer


@dataclass(frozen=True, kw_only=True)
class ReasoningConfig(ClippedConfig, DepthSizes):
    """One training on puzzles."""

    stack: str = "softmax*2"
    hidden: Count = 256
    puzzle: str = "reachability"
    """Name of a generated puzzle (tasks.reasoning.data.PUZZLES)."""
    size: Natural = 0
    """What makes the puzzle hard, such as its nodes or digits; 0 takes its default."""
    data: str = ""
    """Folder with files of questions that replace the puzzle (drivers.puzzles.files)."""
    data_digest: str = ""
    """SHA-256 of these files, which neuro train writes down; empty accepts any."""
    train: Natural = 4000
    """Number of training items; of files, the first ones, where 0 takes all."""
    val: Natural = 200
    """Number of validation items; of files, the first ones, where 0 takes all."""
    test: Natural = 500
    """Number of test items; of files, the first ones, where 0 takes all."""
    arm: Arm = "coconut"
    """How the network learns and answers (tasks.reasoning.curriculum)."""
    latents: Natural = 1
    """Continuous thoughts per stage of the curriculum, in "codi" too."""
    stages: Count = 4
    """Stages of the curriculum after the first one, which has all steps."""
    first_epochs: Count = 5
    """Epochs of the first stage."""
    stage_epochs: Count = 5
    """Epochs of each further stage but the last, which lasts to the end."""
    mix: Share = 0.0
    """Share of the batches that belong to a random stage."""
    smoothing: Positive = 4.0
    """Lambda of "icot": o further words are removed with a probability of exp(-lambda o)."""
    alpha: NotNegative = 1.0
    """Weight of the distillation in "codi"."""
    beta: NotNegative = 1.0
    """Weight of the teacher's own loss in "codi"."""
    order: Order = "confidence"
    """Order in which "diffusion" fills the words of an answer."""
    denoising_steps: Natural = 0
    """Calls in which "diffusion" fills an answer; 0 makes one call per word."""
    temperature: NotNegative = 0.0
    """Temperature of the guesses of "diffusion"; 0 takes the likeliest word."""
    mask_question: bool = False
    """Whether the training of "diffusion" also hides words of questions."""
    vocabulary: Natural = 0
    """Words that the model knows; 0 takes those of the items."""
    batch: Count = 64
    epochs: Count = 40
    lr: Positive = 1e-3
    warm: Share = 0.05
    decay: NotNegative = 0.01

    @property
    def last_stage_epoch(self) -> int:
        """First epoch of the last stage of the curriculum."""
        return self.first_epochs + (self.stages - 1) * self.stage_epochs

    @property
    def thoughts(self) -> int:
        """Number of thoughts before an answer."""
        return self.latents * self.stages if self.arm in LATENT else 0

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        last = self.last_stage_epoch
        wrong = {
            **{
                f"{name} is 0; it must be >= 1 for a generated puzzle. Use --set "
                f"{name}=100.": not self.data and getattr(self, name) == 0
                for name in ("train", "val", "test")
            },
            f'depth is {self.depth}; it must be 0 for arm "diffusion", which reads both ways. '
            "Use --set depth=0.": self.depth > 0 and self.arm == "diffusion",
            f"epochs is {self.epochs}; it must be > {last}, where the last stage of the "
            "curriculum begins (first_epochs, and stage_epochs of each stage between). Use "
            f"--set epochs={last + 1}.": self.arm in STAGED and self.epochs <= last,
            'mask_question is True; it must be False unless arm is "diffusion". Use --set '
            "mask_question=false.": self.mask_question and self.arm != "diffusion",
        }
        problems = [text for text, is_so in wrong.items() if is_so]
        try:
            _ = self.layers
        except ValueError as error:
            problems.append(str(error))
        return problems + list_depth_problems(self) + list_linear_problems(self)


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
