"""Options of a command that are written as recipes are."""
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipelines.errors import UserError

if TYPE_CHECKING:
    from export.keras_models.pixels import Pixels
    from export.onnx_models.reader import Layout


def listed(text: str, option: str) -> list[Any]:
    """Return the entries of a list with commas between, each a name or {name: settings}."""
    entries = one_of(f"[{text}]", f"{option} {text}", "give names with commas between, for instance float16,int8 or "
                   "\"int8,{qat: 5}\"")
    if not entries:
        raise UserError(f"{option}: it is empty")
    return entries


def text_of(entries: str | Sequence[Any] | None) -> str | None:
    """Return entries as `listed` reads them; text, and nothing, as they are."""
    if entries is None or isinstance(entries, str):
        return entries
    return ",".join(json.dumps(entry) for entry in entries)


def pixels_of(text: str) -> Pixels:
    """Return a range of pixels that models are trained on. Raises UserError where there is none of that name."""
    from export.keras_models.pixels import SCALING  # which takes its time to import

    if not isinstance(text, str) or text not in SCALING:
        raise UserError(f"--pixels {text}: give one of {', '.join(SCALING)}")
    return text  # type: ignore[return-value]


def layout_of(text: str) -> Layout:
    """Return an order of axes. Raises UserError where it is not one that images are turned to."""
    if str(text).lower() != "nhwc":
        raise UserError(f"--layout {text}: give nhwc, which turns images that the file has channels first, or leave it "
                        "out")
    return "nhwc"


def one_of(text: str, option: str = "", advice: str = "") -> Any:
    """Return what an option says, as a recipe would write it. Raises UserError with what was said and an advice."""
    try:
        return YAML(typ="safe").load(text)
    except YAMLError:
        raise UserError(f"{option}: {advice}") from None
