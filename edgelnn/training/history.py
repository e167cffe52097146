"""The figures of every epoch, as rows and as ``history.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from edgelnn.errors import RunFolderError

NOT_RECORDED = float("nan")

__all__ = ["EpochRecord", "format_history", "parse_history"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch; the fields are those of `EpochReport`."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_auc: float
    val_accuracy: float
    duration_s: float
    val_f1: float = NOT_RECORDED
    val_dice: float = NOT_RECORDED


def format_history(history: Sequence[EpochRecord]) -> str:
    """Return the epochs as CSV with a header.

    >>> print(format_history([EpochRecord(1, 0.1, 0.7, 0.5, 0.6, 0.8, 0.75, 1.5, 0.4, 0.3)]), end="")
    epoch,learning_rate,train_loss,train_accuracy,val_loss,val_auc,val_accuracy,duration_s,val_f1,val_dice
    1,0.1,0.7,0.5,0.6,0.8,0.75,1.5,0.4,0.3
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(EpochRecord)])
    writer.writerows(astuple(record) for record in history)
    return text.getvalue()


def parse_history(text: str) -> tuple[EpochRecord, ...]:
    """Return the epochs that `format_history` wrote.

    Raises:
        RunFolderError: It is not such a table.
    """
    rows = list(csv.reader(io.StringIO(text)))
    names = [field.name for field in fields(EpochRecord)]
    # Runs of before F1 and Dice were recorded have the columns before them.
    if not rows or rows[0] not in (names, names[:-2]):
        raise RunFolderError(f"got a history that begins with {rows[:1]}; expected the columns {', '.join(names)}.")
    try:
        return tuple(EpochRecord(int(row[0]), *map(float, row[1:])) for row in rows[1:])
    except (ValueError, TypeError, IndexError) as error:
        raise RunFolderError(f"got a history with a row that is not {len(names)} numbers: {error}.") from error
