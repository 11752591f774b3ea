"""Configurations of attribution: the corpora, the language model, the arm, its probe."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args, get_origin, get_type_hints

from neuro.nn.mixer_block import BlockSizes
from tasks.runs.soundness import list_low_fields, refuse_problems

Source = Literal["authors", "folders", "pile", "library"]
BYTES = 256  # the vocabulary of real text
Arm = Literal[
    "lm",
    "inner_probe",
    "unit",
    "residual",
    "mean",
    "last",
    "uniqueness",
    "random_lm",
    "permuted",
    "alif",
]
LEAST_GAP = 0.5  # share of the gap that a language model must close to be probed


@dataclass(frozen=True, kw_only=True)
class AttributionConfig(BlockSizes):
    """One training: of a language model, or of a probe that reads its states.

    Blocks of the language model: see :class:`neuro.nn.mixer_block.BlockSizes`.
    source: of the corpora; "authors" are Markov chains, see :mod:`drivers.text.authors`. Real
        text, as bytes: "folders" and "pile" lie at ``data``, see :mod:`drivers.text.corpora`;
        "library" is installed, see :mod:`drivers.text.installed`. names: of these corpora:
        protected, free, unseen; () is all that are there, by name. tokenizer: a tokenizer.json
        of Hugging Face; "": a token is a byte.
    vocabulary, order, delta, gamma: of these authors.
    tokens: T of every document. protected: K corpora, which the answer is one of. free: further
        ones that the language model reads. unseen: those that it never reads.
    matched: control: unseen corpora are other documents of the protected authors, so their
        style is that of what the language model has read.
    shares: of the documents that the language model reads, protected corpora first; (): equal.
    seed_of_data: of authors and documents.
    documents: that the language model reads in an epoch. held_out: that it is validated on.
    train, val, test: documents of the protected corpora for the probe. composed: documents of
        two or three segments, each of another author than the one before. outside: documents of
        free and of unseen corpora, each.
    lm: run folder of a trained arm "lm"; "": it is trained before the probe. lm_epochs, lm_lr:
        of its training. seed_of_lm: of its initial weights.
    arm: what is trained, and what it reads; the properties say what that means.
    probe_width: channels of the probe's recurrent layer. probe_tau: time constant of the
        neurons of "alif" [tokens]; theta: how far a state moves for an event, in root mean
        squares.
    budget: trainings of a language model that may be asked for, 2^K for each seed.
    lr, warm, decay, clip: see :class:`neuro.training.Plan`.
    """

    stack: str = "softmax*2"
    width: int = 32
    hidden: int = 64
    heads: int = 4
    source: Source = "authors"
    data: str = ""
    names: tuple[str, ...] = ()
    tokenizer: str = ""
    vocabulary: int = 16
    order: int = 1
    delta: float = 1.0
    gamma: float = 1.0
    tokens: int = 64
    protected: int = 3
    free: int = 1
    unseen: int = 1
    matched: bool = False
    shares: tuple[float, ...] = ()
    seed_of_data: int = 0
    documents: int = 2400
    held_out: int = 400
    train: int = 1200
    val: int = 200
    test: int = 500
    composed: int = 300
    outside: int = 300
    lm: str = ""
    lm_epochs: int = 4
    lm_lr: float = 1e-2
    seed_of_lm: int = 0
    arm: Arm = "inner_probe"
    probe_width: int = 32
    probe_tau: float = 8.0
    theta: float = 1.0
    budget: int = 32
    batch: int = 50
    epochs: int = 5
    lr: float = 3e-3
    warm: float = 0.05
    decay: float = 0.01
    clip: float = 1.0

    @property
    def seen(self) -> int:
        """Corpora that the language model reads."""
        return self.protected + self.free

    @property
    def corpora(self) -> int:
        """All corpora: protected, free, unseen, in this order."""
        return self.seen + self.unseen

    @property
    def read(self) -> int:
        """Corpora that are read or made: those of protected authors serve twice if matched."""
        return self.seen if self.matched else self.corpora

    def find_corpus(self, source: int) -> int:
        """Return which of the corpora that are read a document of a source is taken from."""
        unseen = source - self.seen
        return unseen % self.protected if self.matched and unseen >= 0 else source

    @property
    def begin(self) -> int:
        """The token in front of every document."""
        return self.vocabulary

    @property
    def of_seen(self) -> tuple[float, ...]:
        """The share of each corpus in what the language model reads; they add up to 1."""
        given = self.shares or (1.0,) * self.seen
        return tuple(share / sum(given) for share in given)

    @property
    def is_lm(self) -> bool:
        """Whether the language model itself is trained, without a probe."""
        return self.arm == "lm"

    @property
    def reads(self) -> Literal["attention", "unit", "residual"]:
        """What the probe reads of each layer: of :class:`..language_model.InnerStates`."""
        return self.arm if self.arm in ("unit", "residual") else "attention"

    @property
    def reads_last_layer(self) -> bool:
        """Whether the probe reads the last layer alone."""
        return self.arm == "last"

    @property
    def is_spiking(self) -> bool:
        """Whether the probe reads events and sends spikes."""
        return self.arm == "alif"

    @property
    def is_on_spikes(self) -> bool:
        """Whether the read-out maps spikes, as the language model itself does."""
        return self.arm == "mean" and self.linear == "spiking"

    @property
    def is_recurrent(self) -> bool:
        """Whether an LSTM stands between the states and the read-out."""
        return self.arm not in ("mean", "alif")

    @property
    def is_unique(self) -> bool:
        """Whether tokens count by their distance from the mean state."""
        return self.arm == "uniqueness"

    @property
    def is_permuted(self) -> bool:
        """Whether the probe learns permuted labels: it can only guess."""
        return self.arm == "permuted"

    @property
    def reads_trained_lm(self) -> bool:
        """Whether the language model behind the probe is a trained one."""
        return not self.is_lm and self.arm != "random_lm"


def require_sound(config: AttributionConfig) -> None:
    """Raise a ValueError that lists what does not fit in a configuration, each with its cure.

    Fields are set one by one, so it is checked where data or a model are made of them.
    """
    refuse_problems(list_problems(config))


def list_problems(config: AttributionConfig) -> list[str]:
    """Return what does not fit, each with its cure."""
    least = {
        **dict.fromkeys(("width", "hidden", "heads", "ticks", "batch", "epochs"), 1),
        **dict.fromkeys(("order", "lm_epochs", "probe_width", "budget"), 1),
        **dict.fromkeys(("documents", "held_out", "train", "val", "test", "composed"), 1),
        **dict.fromkeys(("limit", "free", "unseen", "seed_of_data", "seed_of_lm"), 0),
        **dict.fromkeys(("vocabulary", "protected"), 2),
        "tokens": 3,
        "outside": 0,
    }
    problems = list_low_fields(config, least)
    problems += [
        f"{name} is {getattr(config, name)}; give a finite number >= 0"
        for name in ("delta", "gamma")
        if not 0 <= getattr(config, name) < math.inf
    ]
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal and getattr(config, name) not in get_args(kind):
            choices = ", ".join(map(str, get_args(kind)))
            problems.append(f"{name} is {getattr(config, name)!r}; give one of {choices}")
    shares, budget = config.shares, config.budget
    wrong = {
        f"theta is {config.theta}; give a finite number > 0: events of all changes are no "
        "events": not 0 < config.theta < math.inf,
        f"probe_tau is {config.probe_tau}; give a finite number > 0 [tokens]": not (
            0 < config.probe_tau < math.inf
        ),
        f"eps is {config.eps}; give a finite number > 0": not 0 < config.eps < math.inf,
        f"shares are {len(shares)}, and the language model reads {config.seen} corpora "
        "(protected and free); give one each, or none": len(shares) not in (0, config.seen),
        f"shares are {shares}; give finite numbers > 0": not all(
            0 < share < math.inf for share in shares
        ),
        f"limit is {config.limit}, and a document and its begin are {config.tokens + 1} "
        "tokens; give 0 (any), or more": 0 < config.limit <= config.tokens,
        f"protected is {config.protected}: 2^{config.protected} language models, and budget is "
        f"{budget}; protect fewer corpora, or give a larger budget": (
            config.protected > budget.bit_length() or 2**config.protected > budget > 0
        ),
        "delta and gamma are 0, so all authors are the same; give more than 0 to one": (
            config.source == "authors" and config.delta == config.gamma == 0
        ),
        f'lm is {config.lm!r}, and arm "lm" trains one; leave it out, or set another arm': (
            config.is_lm and config.lm != ""
        ),
    }
    problems += [text for text, is_so in wrong.items() if is_so]
    problems += list_problems_of_text(config)
    try:
        _ = config.layers
    except ValueError as error:
        problems.append(str(error))
    return problems


def list_problems_of_text(config: AttributionConfig) -> list[str]:
    """Return what does not fit in the fields of corpora that are not generated."""
    is_text, has_data = config.source != "authors", config.source in ("folders", "pile")
    wrong = {
        f"vocabulary is {config.vocabulary}, and text without a tokenizer is read as bytes; "
        f"give {BYTES}": is_text and not config.tokenizer and config.vocabulary != BYTES,
        f'source "{config.source}" reads no text, and there is a tokenizer; leave it out': (
            not is_text and bool(config.tokenizer)
        ),
        f'source "{config.source}" needs data; give the path of the corpora': (
            has_data and not config.data
        ),
        f'data is {config.data!r}, and source "{config.source}" reads none; leave it out, or '
        "set source to folders or pile": bool(config.data) and not has_data,
        f"names are {len(config.names)}, and the corpora are {config.read} (protected, free, "
        "unseen); give one each, or none": len(config.names) not in (0, config.read),
        'names are of real text, and source "authors" has none; leave them out': (
            not is_text and bool(config.names)
        ),
        "names has a corpus twice; give each once": len(set(config.names)) < len(config.names),
    }
    return [text for text, is_so in wrong.items() if is_so]


def tiny() -> AttributionConfig:
    """A probe of three authors, behind a language model that learns them: under a minute."""
    return AttributionConfig()


def tiny_alif() -> AttributionConfig:
    """The spiking probe of tiny: neurons that adapt read events of the states."""
    return replace(tiny(), arm="alif")


def tiny_spiking() -> AttributionConfig:
    """A plain read-out of a spiking language model."""
    return replace(tiny(), arm="mean", stack="mlgru*2", linear="spiking")


def tiny_lm() -> AttributionConfig:
    """The language model of tiny alone."""
    return replace(tiny(), arm="lm")


def library() -> AttributionConfig:
    """Installed text: the standard library, headers, descriptions of packages, and more."""
    return replace(tiny(), source="library", vocabulary=BYTES, documents=4000, width=48)


def full() -> AttributionConfig:
    """A probe of the 370M MatMul-free language model as published, on parts of the Pile."""
    return AttributionConfig(
        stack="mlgru*24",
        width=1024,
        hidden=2816,
        linear="ternary",
        source="pile",
        data="pile",
        names=("Github", "OpenWebText2", "Wikipedia (en)", "PubMed Abstracts", "Enron Emails"),
        tokenizer="tokenizer.json",
        vocabulary=32_000,
        tokens=512,
        documents=100_000,
        train=8000,
        val=1000,
        test=1500,
        composed=1500,
        outside=1500,
        probe_width=512,
    )


def four() -> AttributionConfig:
    """A probe of four authors that differ less: 16 language models say what causes what."""
    return replace(tiny(), protected=4, delta=0.6, gamma=0.6, documents=4000)


def five() -> AttributionConfig:
    """A probe of five authors: 32 language models."""
    return replace(four(), protected=5, documents=4800)
