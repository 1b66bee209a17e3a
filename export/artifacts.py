"""What export made: a file or folder per variant and target, and how much of it an accelerator takes."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from export.ranges import Ranges

EXPORTED = "exported.json"


class Unsupported(BaseModel):
    """An operator that an accelerator does not take.

    Args:
        operator: its kind, for instance GATHER.
        layer: where it stands.
        reason: why not, as the compiler says it.
    """

    operator: str
    layer: str = ""
    reason: str = ""


class Coverage(BaseModel):
    """How much of a model an accelerator takes, as its maker's compiler reports it.

    Args:
        accelerator: what it was compiled for, or analyzed for.
        taken: operators that the accelerator runs.
        total: operators of the model.
        partitions: pieces that run without the CPU between, where the compiler counts them.
        left: those that the accelerator does not run.
    """

    accelerator: str
    taken: int
    total: int
    partitions: int | None = None
    left: list[Unsupported] = []

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.taken / self.total if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.taken} of {self.total} operators ({self.share:.0%})"


class Exported(BaseModel):
    """A file or folder that runs somewhere.

    Args:
        variant: what compression made, that this was made from.
        target: as the recipe names it.
        path: relative to the folder of all exported files.
        summary: what it is, in a line.
        encoding: how its numbers are written, see `export.encodings`.
        integer: whether every tensor of it is an integer.
        bytes: of the file, or of all files of the folder.
        zipped: of the same in a zip archive.
        operators: name to number, where the format has them.
        ranges: of its real inputs, what the ranges of its integers were found with; none where nobody knows.
        seconds: how long what one call of it is asked lasts, of sound or of what a sensor gives, where that is known.
        runs: whether it can be run, and so measured, on this machine.
        coverage: how much of it an accelerator takes, where one was asked.
        estimates: what its compiler estimates, by name: sram_bytes, flash_bytes, cycles, inferences_per_second, …
        notes: what else to know of it, a line each.
    """

    variant: str
    target: str
    path: str
    summary: str = ""
    encoding: str = ""
    integer: bool = False
    bytes: int
    zipped: int
    operators: dict[str, int] = {}
    ranges: Ranges = {}
    seconds: float | None = None
    runs: bool = True
    coverage: Coverage | None = None
    estimates: dict[str, float] = {}
    notes: list[str] = []

    @property
    def name(self) -> str:
        """Return how gates and predictions call it."""
        return artifact_name(self.target, self.variant)

    @property
    def is_tflite(self) -> bool:
        """Return whether it is a TFLite file that runs wherever LiteRT does."""
        return self.runs and self.path.endswith(".tflite")

    @property
    def title(self) -> str:
        """Return how tables call it."""
        return self.target if self.target == "saved_model" else f"{self.target} {self.variant}"


def artifact_name(target: str, variant: str) -> str:
    """Return how gates call what a target makes of a variant.

    That is the variant alone on phones' CPUs, and the target alone for TF Serving.
    """
    return {"litert": variant, "saved_model": target}.get(target, f"{target}_{variant}")


class ExportedList(BaseModel):
    """What came of one trained model.

    Args:
        artifacts: all that was exported.
        left_out: targets that a problem which the user can fix keeps from being made, each with a line that says how.
        failed: targets whose tools crashed, each with a line.
    """

    artifacts: list[Exported]
    left_out: dict[str, str] = {}
    failed: dict[str, str] = {}

    @classmethod
    def read(cls, folder: Path) -> ExportedList:
        """Return what export left in a folder."""
        return cls.model_validate_json((folder / EXPORTED).read_bytes())

    @property
    def here(self) -> Sequence[Exported]:
        """Return those that can be run on this machine."""
        return [one for one in self.artifacts if one.runs]
