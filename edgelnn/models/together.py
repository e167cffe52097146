"""How many images a model answers together: one, unless it repeats the mistake of recurring over the batch."""

from __future__ import annotations

from edgelnn.errors import ConfigError
from edgelnn.models.head_specification import HeadSpec, RecurrentHead, ReservoirHead

__all__ = ["images_together"]


def images_together(spec: HeadSpec) -> int | None:
    """Return how many images are answered together because each answer depends on the others; None: each stands alone.

    Raises:
        ConfigError: `over` and `together` do not go with each other.

    >>> images_together(RecurrentHead(kind="lstm", over="batch", together=64))
    64
    """
    if not isinstance(spec, RecurrentHead | ReservoirHead):
        return None
    if spec.over == "batch" and spec.together is None:
        raise ConfigError(
            "got head.over='batch' without head.together; a recurrence over the batch makes every answer depend on the "
            "images beside it, so say how many there are. Set head.over='time', which is what a recurrence is for, or "
            "head.together to the batch size of the published figures."
        )
    if spec.over == "time" and spec.together is not None:
        raise ConfigError(
            f"got head.together={spec.together} with head.over='time'; there every image is answered alone. Leave "
            "head.together out."
        )
    return spec.together
