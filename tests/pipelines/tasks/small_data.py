"""Small data as tasks see them, for tests that train nothing."""
from __future__ import annotations

from typing import Any

from pipelines.ingest.data import Data
from pipelines.ingest.indexing import build_index
from pipelines.ingest.section import DataSection
from pipelines.tasks.task import Task

#: A tokenizer that learns every word.
WORD = {"word": {"min_count": 1}}


def data_of(task: Task, **section: Any) -> Data:
    """Return data as a recipe's section `data` has them."""
    own = DataSection.model_validate({"batch": 8, **section})
    own.fill(task.data_settings)
    own.source.prepare()
    return Data(own, task, build_index(own, task, 0), 0)
