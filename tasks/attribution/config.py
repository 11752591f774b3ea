"""Configurations of attribution: the corpora, the language model, the arm, its probe."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge

from neuro.base.bounds import Count, Natural, NotNegative, Positive, Share
from neuro.nn.mixer_block import BlockSizes, list_linear_problems
from tasks.runs.configuration import ClippedConfig

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
class AttributionConfig(ClippedConfig, BlockSizes):
    """One training: of a language model, or of a probe that reads its states."""

    stack: str = "softmax*2"
    width: Count = 32
    hidden: Count = 64
    source: Source = "authors"
    """Corpora: generated "authors", "folders" of texts, the "pile", or installed "library"."""
    data: str = ""
    """Path of "folders" or of the "pile" (drivers.text.corpora)."""
    names: tuple[str, ...] = ()
    """Names of the protected, free and unseen corpora; empty takes all, in order of name."""
    tokenizer: str = ""
    """Path of a tokenizer.json of Hugging Face; empty makes each byte a token."""
    vocabulary: Annotated[int, Ge(2)] = 16
    """Tokens of generated authors; 256 for bytes, at least those of a tokenizer."""
    order: Count = 1
    """Tokens that the next token of a generated author depends on."""
    delta: NotNegative = 1.0
    """How much the transitions of generated authors differ (drivers.text.authors)."""
    gamma: NotNegative = 1.0
    """How much the token frequencies of generated authors differ (drivers.text.authors)."""
    tokens: Annotated[int, Ge(3)] = 64
    """Tokens per document."""
    protected: Annotated[int, Ge(2)] = 3
    """Protected corpora; the answer names one of them."""
    free: Natural = 1
    """Further corpora that the language model reads."""
    unseen: Natural = 1
    """Corpora that the language model never reads."""
    matched: bool = False
    """Whether unseen corpora are other documents of the protected authors (a control)."""
    shares: tuple[Positive, ...] = ()
    """Relative number of documents per corpus that the language model reads; empty is equal."""
    seed_of_data: Natural = 0
    """Seed of authors and documents."""
    documents: Count = 2400
    """Documents that the language model reads per epoch."""
    held_out: Count = 400
    """Documents that validate the language model."""
    train: Count = 1200
    """Documents of protected corpora that train the probe."""
    val: Count = 200
    """Documents of protected corpora that validate the probe."""
    test: Count = 500
    """Documents of protected corpora that test the probe."""
    composed: Count = 300
    """Test documents of two or three segments by different authors."""
    outside: Natural = 300
    """Test documents of free corpora, and as many of unseen ones."""
    lm: str = ""
    """Run folder of a trained arm "lm"; empty trains the language model before the probe."""
    lm_epochs: Count = 4
    """Epochs of the language model."""
    lm_lr: Positive = 1e-2
    """Peak learning rate of the language model."""
    seed_of_lm: Natural = 0
    """Seed of the initial weights of the language model."""
    arm: Arm = "inner_probe"
    """What is trained, and what it reads; the properties below say what each arm means."""
    probe_width: Count = 32
    """Channels of the probe's recurrent layer."""
    probe_tau: Positive = 8.0
    """Time constant of the neurons of arm "alif" [tokens]."""
    theta: Positive = 1.0
    """Change of a state that makes an event for arm "alif" [root mean squares]."""
    budget: Count = 32
    """Most language models that may be trained per seed; the causes need 2^protected."""
    batch: Count = 50
    epochs: Count = 5
    lr: Positive = 3e-3
    warm: Share = 0.05
    decay: NotNegative = 0.01

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
        """Corpora that are read or generated; if matched, unseen ones reuse protected ones."""
        return self.seen if self.matched else self.corpora

    def find_corpus(self, source: int) -> int:
        """Return the corpus that the documents of a source are taken from."""
        unseen = source - self.seen
        return unseen % self.protected if self.matched and unseen >= 0 else source

    @property
    def begin(self) -> int:
        """The token in front of every document."""
        return self.vocabulary

    @property
    def of_seen(self) -> tuple[float, ...]:
        """The share of each corpus in the language model's training; shares add up to 1."""
        given = self.shares or (1.0,) * self.seen
        return tuple(share / sum(given) for share in given)

    @property
    def is_lm(self) -> bool:
        """Whether the language model itself is trained, without a probe."""
        return self.arm == "lm"

    @property
    def reads(self) -> Literal["attention", "unit", "residual"]:
        """What the probe reads: a field of :class:`tasks.attribution.model.InnerStates`."""
        return self.arm if self.arm in ("unit", "residual") else "attention"

    @property
    def is_spiking(self) -> bool:
        """Whether the probe reads events and sends spikes."""
        return self.arm == "alif"

    @property
    def is_recurrent(self) -> bool:
        """Whether there is an LSTM between the states and the read-out."""
        return self.arm not in ("mean", "alif")

    @property
    def is_unique(self) -> bool:
        """Whether tokens are weighted by their distance from the mean state."""
        return self.arm == "uniqueness"

    @property
    def reads_trained_lm(self) -> bool:
        """Whether the language model behind the probe is trained."""
        return not self.is_lm and self.arm != "random_lm"

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        shares, budget = len(self.shares), self.budget
        wrong = {
            f"shares has {shares} items; it must have none or {self.seen}, one per corpus that "
            "the language model reads (protected and free). Use --set shares=[].": (
                shares not in (0, self.seen)
            ),
            f"limit is {self.limit}; it must be 0 or > {self.tokens}, for a document and its "
            "begin. Use --set limit=0 for no limit.": 0 < self.limit <= self.tokens,
            f"protected is {self.protected}; 2^{self.protected} language models must be <= "
            f"budget, {budget}. Use fewer corpora, or a larger budget.": (
                self.protected > budget.bit_length() or 2**self.protected > budget
            ),
            "delta and gamma are 0; one of them must be > 0, or all authors are the same. Use "
            "--set delta=1.": self.source == "authors" and self.delta == self.gamma == 0,
            f'lm is {self.lm!r}; it must be empty for arm "lm", which trains one. Use --set '
            "lm= or another arm.": self.is_lm and self.lm != "",
        }
        problems = [text for text, is_so in wrong.items() if is_so]
        problems += list_problems_of_text(self) + list_linear_problems(self)
        try:
            _ = self.layers
        except ValueError as error:
            problems.append(str(error))
        return problems


def list_problems_of_text(config: AttributionConfig) -> list[str]:
    """Return the problems between the fields of real text."""
    is_text, has_data = config.source != "authors", config.source in ("folders", "pile")
    names, source = config.names, f'source "{config.source}"'
    wrong = {
        f"vocabulary is {config.vocabulary}; it must be {BYTES} for text without a tokenizer. "
        f"Use --set vocabulary={BYTES}.": (
            is_text and not config.tokenizer and config.vocabulary != BYTES
        ),
        f"tokenizer is {config.tokenizer!r}; it must be empty for {source}, which reads no "
        "text. Use --set tokenizer=.": not is_text and bool(config.tokenizer),
        f"data is ''; it must be the path of the corpora for {source}. Use --set data=PATH.": (
            has_data and not config.data
        ),
        f"data is {config.data!r}; it must be empty for {source}. Use --set source=folders or "
        "source=pile.": bool(config.data) and not has_data,
        f"names has {len(names)} items; it must have none or {config.read}, one per corpus "
        "(protected, free, unseen). Use --set names=[].": len(names) not in (0, config.read),
        f"names has items; it must have none for {source}. Use --set names=[].": (
            not is_text and bool(names)
        ),
        "names has a corpus twice; each must stand once. Remove one.": (
            len(set(names)) < len(names)
        ),
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
