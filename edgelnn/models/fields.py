"""What specifications are made of: their base, and the numbers that occur in many of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Probability", "Specification", "Units"]

Units = Annotated[int, Field(ge=1, le=4096)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


class Specification(BaseModel):
    """Base of everything a user writes: unknown fields are refused, values are not coerced, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
