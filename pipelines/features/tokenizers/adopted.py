"""The vocabulary of another run, for models that start from its weights: a token must have the number it had there."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.errors import UserError
from pipelines.features.feature import Learnt
from pipelines.features.tokenizers.tokenizer import Tokenizer

#: What a run's folder has, as its stages write it.
RECIPE, INDEX = "run.json", Path("ingest") / "index.json"
WHERE = "data.tokens.vocabulary"


def vocabulary(run: str, name: str, tokenizer: Tokenizer) -> Learnt:
    """Return what a run's tokenizer has learnt.

    Args:
        run: its folder, such as runs/llama/latest.
        name: of the feature, there and here.
        tokenizer: how text is cut here.

    Raises:
        UserError: there is no such run, it has no tokens, or it cuts text in another way.
    """
    folder = Path(run).expanduser()
    recipe, index = _read(folder / RECIPE, run)["recipe"], _read(folder / INDEX, run)
    written = recipe["data"].get(name, {}).get("tokenizer")
    if written is None or name not in index["learnt"]:
        raise UserError(f"{WHERE}: {run} has no tokens called {name}; give the run of a language model")
    if written != tokenizer.written():
        raise UserError(f"{WHERE}: {run} cuts text by {json.dumps(written)}, and data.{name}.tokenizer is "
                        f"{json.dumps(tokenizer.written())}; give the same")
    return Learnt.model_validate(index["learnt"][name])


def fingerprint(run: str) -> str:
    """Return what changes with a run's vocabulary. Raises UserError where there is no such run."""
    return str(_read(Path(run).expanduser() / INDEX, run)["digest"])


def _read(path: Path, run: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise UserError(f"{WHERE}: {run} is not a run with a vocabulary: {path} is not there or cannot be read. Run "
                        "its recipe first, and give its folder, such as runs/llama/latest") from None
