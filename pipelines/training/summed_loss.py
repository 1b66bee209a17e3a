"""The sum of several losses."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from export.signature import Role
from pipelines.training.losses import Comparison, Loss


def _term(value: Any) -> Loss:
    loss: Loss = Loss.read(value)  # type: ignore[assignment]
    if isinstance(loss, Sum):
        raise PydanticCustomError("combination", "is a sum in a sum; list its losses instead")
    return loss


#: A loss as a recipe writes it; its own schema would hold that of the sum, without end.
Term = Annotated[Any, PlainValidator(_term), PlainSerializer(lambda loss: loss.written()),
                 WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}],
                                 "description": "a loss, as train.loss takes one"})]


class Sum(Loss, name="sum", shorthand="losses"):
    """Several losses added up, each times its weight: `{sum: [cross_entropy, dice]}`.

    Args:
        losses: as train.loss takes one.
        weights: a factor for each, in their order; 1 where not given.
    """

    losses: list[Term] = Field(min_length=2)
    weights: list[Annotated[float, Field(gt=0)]] | None = None

    @model_validator(mode="after")
    def must_be_as_many(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.losses):
            raise PydanticCustomError("combination", "has {weights} weights for {losses} losses",
                                      {"weights": len(self.weights), "losses": len(self.losses)})
        return self

    @property
    def terms(self) -> list[tuple[float, Loss]]:
        return list(zip(self.weights or [1.0] * len(self.losses), self.losses, strict=True))

    def build(self, counts: Sequence[int], role: Role) -> Comparison:
        compared = [(weight, loss.build(counts, role)) for weight, loss in self.terms]
        return lambda targets, outputs: sum(weight * compare(targets, outputs) for weight, compare in compared)
