"""What verification measured of each artifact, as it is written for package, results and report."""
from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from export.measure.compare import Measurement

VERIFIED = "verified.json"

#: Protocol to what it is called in tables.
PROTOCOLS = {"grpc": "gRPC", "rest": "REST"}


class Served(BaseModel):
    """What a model answers when it is asked through TF Serving's protocol.

    Args:
        metrics: of the task.
        max_error: the largest difference of an output from the trained model's.
        agreement: of the output that agrees least with it, see `export.measure.compare.Comparison`.
        examples: of the test set, the first so many on which both were measured; None where on all of it.
    """

    metrics: dict[str, float]
    max_error: float
    agreement: float = 1.0
    examples: int | None = None


class Verified(Measurement):
    """An artifact by its name, and what was measured of it.

    Args:
        served: by protocol, for what TF Serving serves.
        beyond: of the test examples, how many have an input further out than the file's integers reach, or, where it
            takes real numbers, than these were found with; None where that cannot be said.
    """

    name: str
    beyond: int | None = None
    served: dict[str, Served] = {}


class VerifiedList(BaseModel):
    """All artifacts of a model."""

    artifacts: list[Verified]

    @classmethod
    def read(cls, folder: Path) -> VerifiedList:
        """Return what verify left in a folder."""
        return cls.model_validate_json((folder / VERIFIED).read_bytes())
