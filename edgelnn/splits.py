"""How images were divided into train, val and test, as a bundle's manifest keeps it.

Imports the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Splits"]


@dataclass(frozen=True)
class Splits:
    """What divides the images again as they were for training: fields of an experiment's ``data``.

    Attributes:
        validation, test: Shares held out, where the data come without splits.
        split_seed: Of that draw, and of `fold` and `repeat`; of phantoms, the images' own.
        difficulty: Of phantoms.
        fold, folds: Which fold of how many was val; None where there were none.
        repeat: Which of several draws it was; None where there was but one.
    """

    validation: float
    test: float
    split_seed: int
    difficulty: float
    fold: int | None = None
    folds: int | None = None
    repeat: int | None = None

    @property
    def makes_sense(self) -> bool:
        """Whether every number is one that an experiment could have."""
        shares = 0 < self.validation < 1 and 0 < self.test < 1 and 0 <= self.difficulty <= 1
        folded = (self.fold is None) == (self.folds is None)
        if self.fold is not None and self.folds is not None:
            folded = self.repeat is None and 1 <= self.fold <= self.folds <= 1000
        return shares and folded and (self.repeat is None or self.repeat >= 1)
