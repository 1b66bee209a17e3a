"""`litepress verify`: a bundle's golden samples, asked again on this machine, on its GPU, or on an emulated arm64
processor."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from export.delivery import golden
from export.delivery.golden import Checked
from export.measure import arm64
from export.predictors import GpuPredictor
from export.signature import Arrays
from pipelines.engine import workers
from pipelines.errors import StageError, UserError
from pipelines.tools.publish import bundle_of

if TYPE_CHECKING:
    import numpy as np

Where = Literal["here", "arm64", "gpu"]


def verify(folder: Path, where: Where, report: Callable[[str], None]) -> list[Checked]:
    """Ask a bundle's models its golden samples. Raises UserError where it cannot be done.

    Args:
        folder: a bundle's, or a run's.
        report: receives a line about what is being done.
    """
    try:
        return workers.call(check, bundle_of(folder), where, what="verify",
                            listen=lambda message: report(message["text"]))
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
