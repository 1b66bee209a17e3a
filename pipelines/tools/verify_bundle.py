"""`litepress verify`: a bundle's golden samples, asked again on this machine, on its GPU, or on an emulated arm64
processor."""
from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from export.delivery import golden
from export.delivery.golden import Checked
from export.measure import arm64
from export.predictors import GpuPredictor
from export.signature import Arrays
from pipelines.engine import workers
from pipelines.errors import GateError, StageError, UserError
from pipelines.tools import zipped_bundle
from pipelines.tools.publish import bundle_of

if TYPE_CHECKING:
    import numpy as np

Where = Literal["here", "arm64", "gpu"]


@dataclasses.dataclass(frozen=True)
class Verification:
    """What came of a bundle's golden samples, model by model."""

    checked: list[Checked]

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.checked)

    def require(self) -> None:
        """Raise GateError where a model does not answer as recorded."""
        if wrong := [one.name for one in self.checked if not one.passed]:
            raise GateError(f"verify: {', '.join(wrong)} {'does' if len(wrong) == 1 else 'do'} not answer as recorded")

    def table(self) -> str:
        """Return what `litepress verify` prints, a line for each model."""
        return "\n".join(map(str, self.checked))

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.table())}</pre>"


def verify(path: Path, where: Where, report: Callable[[str], None]) -> Verification:
    """Ask a bundle's models its golden samples. Raises UserError where it cannot be done.

    Args:
        path: a bundle's folder or zip file, or a run's folder.
        report: receives a line about what is being done.
    """
    try:
        with zipped_bundle.opened(path) as folder:
            return Verification(workers.call(check, bundle_of(folder), where, what="verify",
                                             listen=lambda message: report(message["text"])))
    except StageError as error:
        raise UserError(str(error).replace("ValueError: ", "")) from error


def check(bundle: Path, where: Where) -> list[Checked]:
    """Ask the models, in a worker. Raises UserError."""
    try:
        if where == "here":
            return golden.check_here(bundle)
        if where == "gpu":
            return golden.check_with(bundle, _on_gpu, fit=lambda model: model.variant in ("float32", "float16"))
        return golden.check_with(bundle, _on_arm64)
    except ValueError as error:
        raise UserError(f"verify: {error}") from error


def _on_gpu(paths: Sequence[Path], inputs: Arrays) -> dict[str, dict[str, np.ndarray]]:
    return {path.stem: GpuPredictor(path).predict(inputs) for path in paths}


def _on_arm64(paths: Sequence[Path], inputs: Arrays) -> dict[str, dict[str, np.ndarray]]:
    return arm64.ask(paths, inputs, report=lambda text: workers.report(text=text))
