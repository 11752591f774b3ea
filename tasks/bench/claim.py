"""Compares a claim of a publication with the difference measured here, and gives a verdict."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float64

from tasks.bench.rows import Row
from tasks.measures.statistics import Paired, compare_paired

FEW = 6  # with fewer pairs, a two-sided sign test cannot reach p < 5 %
HOLDS, FAILS, OPEN = "holds", "does not hold", "is not shown"
Values = Float64[np.ndarray, " _"]  # one value per pair or per seed


@dataclass(frozen=True, kw_only=True, eq=False)
class Claim:
    """The claim that ``first`` exceeds ``second`` or, with ``alike``, that both are equal.

    more, less: values of ``first`` and ``second``, pair by pair.
    alike: the largest difference that counts as equal.
    """

    name: str
    first: str
    second: str
    unit: str
    more: Values
    less: Values
    alike: float | None = None

    def judge(self, paired: Paired) -> str:
        """Return whether the claim holds, by the interval of the difference of enough pairs."""
        if paired.low is None or paired.high is None or len(self.more) < FEW:
            return OPEN
        if self.alike is None:
            return HOLDS if paired.low > 0 else FAILS if paired.high < 0 else OPEN
        if -self.alike < paired.low and paired.high < self.alike:
            return HOLDS
        return FAILS if paired.low > self.alike or paired.high < -self.alike else OPEN

    def as_row(self) -> Row:
        """Return the claim as a row, with the sentence that is printed."""
        paired = compare_paired(self.more[None], self.less[None])
        verdict = self.judge(paired)
        ours, theirs = float(self.more.mean()), float(self.less.mean())
        span = "" if paired.low is None else f" [{paired.low:+.2f}, {paired.high:+.2f}]"
        return Row(
            case=f"finding: {self.name}",
            subject=self.first,
            peer=self.second,
            unit=self.unit,
            ours=ours,
            theirs=theirs,
            ratio=None,
            note=f"{self.name}: {self.first} {ours:.2f}, {self.second} {theirs:.2f} {self.unit}"
            f", difference {paired.difference:+.2f}{span}, {len(self.more)} pairs: {verdict}",
            conditions={
                "paired": asdict(paired),
                "pairs": len(self.more),
                "alike": self.alike,
                "verdict": verdict,
            },
        )
