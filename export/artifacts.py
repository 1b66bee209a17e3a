"""What export made: a file or folder per variant and target."""
from __future__ import annotations

from pydantic import BaseModel


class Exported(BaseModel):
    """A file or folder that runs somewhere.

    Args:
        path: relative to the folder of all exported files.
        summary: what it is, in a line.
        integer: whether every tensor of it is an integer.
        bytes: of the file, or of all files of the folder.
        zipped: of the same in a zip archive.
        operators: name to number, where the format has them.
    """

    variant: str
    target: str
    path: str
    summary: str = ""
    integer: bool = False
    bytes: int
    zipped: int
    operators: dict[str, int] = {}

    @property
    def name(self) -> str:
        """How gates and predictions call it: the variant's name on phones, else the target's."""
        return self.variant if self.target == "litert" else self.target

    @property
    def title(self) -> str:
        """How tables call it."""
        return f"{self.target} {self.variant}" if self.target == "litert" else self.target


class ExportedList(BaseModel):
    """All that was exported from one trained model."""

    artifacts: list[Exported]
