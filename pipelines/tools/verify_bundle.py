"""`litepress verify`: a bundle's golden samples, asked again on this machine, on its GPU, or on an emulated arm64 processor."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from export.delivery import golden
from export.delivery.golden import Checked
from export.measure import arm64
from export.tflite import gpu_coverage
from pipelines.engine import workers
from pipelines.errors import StageError, UserError
from pipelines.tools.publish import bundle_of

Where = Literal["here", "arm64", "gpu"]


def verify(place: Path, where: Where, say: Callable[[str], None]) -> list[Checked]:
    """Asks a bundle's models its golden samples. Raises UserError where it cannot be done."""
    try:
        return workers.call(check, bundle_of(place), where, what="verify", listen=lambda said: say(said["text"]))
    except StageError as error:
        raise UserError(str(error).replace("ValueError: ", "")) from error


def check(bundle: Path, where: Where) -> list[Checked]:
    """The same, in a worker."""
    try:
        if where == "here":
            return golden.check_here(bundle)
        if where == "gpu":
            return golden.check_with(bundle, lambda paths, images: {path.stem: gpu_coverage.answers(path, images) for path in paths},
                                     fit=lambda model: model.variant in ("float32", "float16"))
        return golden.check_with(bundle, lambda paths, images: arm64.ask(paths, images, say=lambda text: workers.say(text=text)))
    except ValueError as error:
        raise UserError(f"verify: {error}") from error
