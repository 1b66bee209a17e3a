"""Series that come inside statsmodels."""
from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from typing import Any

from etils import epy

from export.targets import tools
from pipelines.errors import UserError
from pipelines.ingest.sources.series import Series
from pipelines.ingest.sources.series_source import SeriesSource

with epy.lazy_imports():
    import numpy as np

EXTRA = "series"


class StatsmodelsSeries(SeriesSource):
    """What these series have in common."""


    def fingerprint(self) -> str:
        if missing := tools.missing(EXTRA):
            raise UserError(f"data.source: {self.entry_name} comes inside statsmodels: {missing}")
        return f"{self.entry_name} statsmodels {importlib.metadata.version('statsmodels')}"

    def series(self) -> tuple[Sequence[str], Sequence[Series]]:
        frame = self._frame()
        times = self._times(frame).astype("datetime64[s]")
        columns = self._columns(frame)
        values = np.stack([frame[column].to_numpy(float) for column in columns], axis=1)
        return [column.lower() for column in columns], [
            Series(str(self.entry_name), times, values, np.zeros_like(values, bool))]

    def _frame(self) -> Any:
        return importlib.import_module(f"statsmodels.datasets.{self.entry_name}").load_pandas().data

    def _columns(self, frame: Any) -> list[str]:
        return list(frame.columns)

    def _times(self, frame: Any) -> np.ndarray:
        return frame.index.to_numpy()


class Sunspots(StatsmodelsSeries, name="sunspots"):
    """Sunspots of each year from 1700 to 2008, with a cycle of about 11 years; comes inside statsmodels. Its column is
    sunactivity."""

    window: int = 22
    season: int = 11

    def _columns(self, frame: Any) -> list[str]:
        return ["SUNACTIVITY"]

    def _times(self, frame: Any) -> np.ndarray:
        return (frame["YEAR"].to_numpy().astype(int) - 1970).astype("datetime64[Y]")


class Co2(StatsmodelsSeries, name="co2"):
    """Carbon dioxide in the air on Mauna Loa, ppm, of each week from March 1958 to December 2001, 59 of which are
    missing; comes inside statsmodels. Its column is co2."""

    window: int = 104
    season: int = 52


class Macrodata(StatsmodelsSeries, name="macrodata"):
    """Twelve figures of the economy of the United States, of each quarter from 1959 to 2009: realgdp, realcons,
    realinv, realgovt, realdpi, cpi, m1, tbilrate, unemp, pop, infl, realint; comes inside statsmodels."""

    window: int = 16
    season: int = 4

    def _columns(self, frame: Any) -> list[str]:
        return [column for column in frame.columns if column not in ("year", "quarter")]

    def _times(self, frame: Any) -> np.ndarray:
        quarters = (frame["year"].to_numpy().astype(int) - 1970) * 4 + frame["quarter"].to_numpy().astype(int) - 1
        return (3 * quarters).astype("datetime64[M]")
