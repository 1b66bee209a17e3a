"""Small tables that come inside scikit-learn: every fifth row is held out for the test."""
from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any, ClassVar

from etils import epy

from pipelines.ingest.index import Part
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource

with epy.lazy_imports():
    import numpy as np

TARGET = "target"
#: One row in so many is of the test part.
HELD_OUT = 5


class ScikitLearnTable(TableSource):
    """What these tables have in common: columns under scikit-learn's names, and what is to be learnt as `target`."""

    settings: ClassVar[dict[str, Any]] = {}

    def fingerprint(self) -> str:
        return f"{self.entry_name} scikit-learn {importlib.metadata.version('scikit-learn')}"

    def tables(self) -> Mapping[Part, Table]:
        return _tables(str(self.entry_name), **self.settings)


class Wine(ScikitLearnTable, name="wine"):
    """178 wines of three growers, by 13 measurements; comes inside scikit-learn."""


class BreastCancer(ScikitLearnTable, name="breast_cancer"):
    """569 tumours, benign or malignant, by 30 measurements of cell nuclei; comes inside scikit-learn."""


class Diabetes(ScikitLearnTable, name="diabetes"):
    """442 patients by ten measurements in their own units, and how far their diabetes was a year later; comes inside
    scikit-learn."""

    settings = {"scaled": False}


@functools.cache
def _tables(name: str, **settings: Any) -> Mapping[Part, Table]:
    datasets = importlib.import_module("sklearn.datasets")
    loaded = getattr(datasets, f"load_{name}")(**settings)
    names = [column.replace(" ", "_") for column in loaded.feature_names]
    columns = {column: np.ascontiguousarray(values) for column, values in zip(names, loaded.data.T, strict=True)}
    target = loaded.target
    if hasattr(loaded, "target_names"):
        words = np.array([str(word).encode() for word in loaded.target_names], object)
        target = words[target]
    columns[TARGET] = target
    test = np.arange(len(target)) % HELD_OUT == HELD_OUT - 1
    return {"train": Table(f"{name} training", {column: values[~test] for column, values in columns.items()}),
            "test": Table(f"{name} test", {column: values[test] for column, values in columns.items()})}
