"""Entries and builders of the user's own, in modules that an environment variable names."""
from __future__ import annotations

import importlib
import os

from pipelines.errors import UserError

VARIABLE = "LITEPRESS_PLUGINS"


def load() -> None:
    """Import the modules that LITEPRESS_PLUGINS names, with commas between. Raises UserError where one is not there."""
    for name in filter(None, os.environ.get(VARIABLE, "").split(",")):
        try:
            importlib.import_module(name.strip())
        except ModuleNotFoundError as error:
            raise UserError(f"{VARIABLE}: there is no module {error.name}; name modules on the Python path, with "
                            "commas between") from error
