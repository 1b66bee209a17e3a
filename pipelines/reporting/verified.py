"""What verification measured of each artifact, as it is written for package, results and report."""
from __future__ import annotations

from pydantic import BaseModel

from export.measure.compare import Measurement

#: Protocol to what it is called in tables.
PROTOCOLS = {"grpc": "gRPC", "rest": "REST"}


class Served(BaseModel):
    """What a model answers when it is asked through TF Serving's protocol, on the whole test set.

    Args:
        metrics: of the task.
        max_error: the largest difference of an output from the trained model's.
    """

    metrics: dict[str, float]
    max_error: float


class Verified(Measurement):
    """An artifact by its name, and what was measured of it.

    Args:
        served: by protocol, for what TF Serving serves.
    """

    name: str
    served: dict[str, Served] = {}


class VerifiedList(BaseModel):
    """All artifacts of a model."""

    artifacts: list[Verified]
