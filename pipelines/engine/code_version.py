"""The version of the code that makes an artifact: a digest of a module and of all it imports from this project, but for the schema of
whole recipes, and the versions of the libraries that numbers depend on."""
from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("pipelines", "models", "export", "serving")
#: The schema of whole recipes: a stage is told the sections that it names as its own, and imports those whose code it runs.
SCHEMA = "pipelines.recipe.recipe"
LIBRARIES = ("tensorflow", "keras", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy", "scikit-learn", "matplotlib")


@functools.cache
def code_version(module: str) -> str:
    """The version of the code behind a module, for instance ``pipelines.stages.train``."""
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in seen or path is None or name == SCHEMA:
            continue
        digest, imported = _look(path)
        seen[name] = digest
        waiting += imported
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(seen.items()))
    return hashlib.sha256((text + _libraries()).encode()).hexdigest()


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    if (path / "__init__.py").exists():
        return path / "__init__.py"
    file = path.with_suffix(".py")
    return file if file.exists() else None


@functools.cache
def _look(path: Path) -> tuple[str, list[str]]:
    """The digest of a file and the project's modules that it imports. Names that are no modules do no harm."""
    source = path.read_bytes()
    imported = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    own = [name for name in imported if name.split(".")[0] in ROOMS]
    return hashlib.sha256(source).hexdigest(), own


@functools.cache
def _libraries() -> str:
    return " ".join(f"{name}={importlib.metadata.version(name)}" for name in LIBRARIES)
