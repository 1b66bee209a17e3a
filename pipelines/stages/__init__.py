"""The stages of a run, in order, one file each."""
from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage.

    Args:
        needs: the stages whose artifacts it reads.
        sections: the parts of the recipe that its artifact depends on.
    """

    name: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]


STAGES = (
    Stage("ingest", (), ("seed", "data")),
    Stage("train", ("ingest",), ("seed", "task", "data", "model", "train")),
    Stage("evaluate", ("ingest", "train"), ("task", "data")),
    Stage("compress", ("ingest", "train"), ("seed", "data", "train", "compress")),
    Stage("export", ("ingest", "train", "compress"), ("name", "data", "model", "compress", "export", "package")),
    Stage("verify", ("ingest", "train", "evaluate", "export"), ("task", "data", "verify")),
    Stage("package", ("ingest", "train", "evaluate", "export", "verify"),
          ("name", "task", "data", "model", "train", "export", "package", "gates")),
)
