"""The version of the code that makes an artifact: a digest of a module and of what it imports from this project, and
the versions of the libraries that numbers depend on.

It follows what a recipe chose, not all that is registered: modules that define choices (entries of recipes, builders of
models) count where another module uses them, or where the recipe names them, but not where a package only makes them
known.
"""
from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("pipelines", "models", "export", "serving")
#: The schema of whole recipes: a stage names its own sections of it, and imports those whose code it runs.
SCHEMA = "pipelines.recipe.recipe"
LIBRARIES = ("tensorflow", "keras", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy",
             "scikit-learn", "matplotlib")


def code_version(module: str, choices: Collection[str] = ()) -> str:
    """Return the version of the code behind a module, for instance ``pipelines.stages.train``.

    Args:
        choices: modules that define entries or builders; they are left out where they are imported only to be known.
    """
    return _version(module, frozenset(choices))


@functools.cache
def _version(module: str, choices: frozenset[str]) -> str:
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(modules(module, choices).items()))
    return hashlib.sha256((text + _libraries()).encode()).hexdigest()


def modules(module: str, choices: Collection[str] = ()) -> dict[str, str]:
    """Return the modules that are behind one, itself included, each with the digest of its file."""
    seen: dict[str, str] = {}
    visited: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in visited or path is None or name == SCHEMA:
            continue
        visited.add(name)
        source = _look(path)
        if not source.gathers:
            seen[name] = source.digest
        waiting += [one for one in source.used if not (source.gathers and one in choices)]
        waiting += [one for one in source.known if one not in choices]
    return seen


def _file(module: str) -> Path | None:
    if module.partition(".")[0] not in PACKAGES:  # an entry of the user's own
        file = getattr(sys.modules.get(module), "__file__", None)
        return Path(file) if file and module == getattr(sys.modules[module], "__name__",
                                                        "") and "site-packages" not in file else None
    path = ROOT.joinpath(*module.split("."))
    if (path / "__init__.py").exists():
        return path / "__init__.py"
    file = path.with_suffix(".py")
    return file if file.exists() else None


@dataclasses.dataclass(frozen=True)
class _Source:
    """A file: its digest, whether it is a package that only gathers others, the project's modules that it uses, and
    those that it imports to be known. Names that are no modules do no harm."""

    digest: str
    gathers: bool
    used: tuple[str, ...]
    known: tuple[str, ...]


@functools.cache
def _look(path: Path) -> _Source:
    content = path.read_bytes()
    tree = ast.parse(content)
    used: list[str] = []
    known: list[str] = []
    for node in _that_runs(tree):
        if isinstance(node, ast.Import):
            used += [alias.name for alias in node.names if "." not in alias.name]
            known += [alias.name for alias in node.names if "." in alias.name]
        elif isinstance(node, ast.ImportFrom) and node.module:
            used += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    gathers = path.name == "__init__.py" and all(_only_names(node) for node in tree.body)
    return _Source(hashlib.sha256(content).hexdigest(), gathers, _own(used), _own(known))


def _that_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            yield from _that_runs(node)


def _only_names(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring, an import, or `__all__`."""
    return isinstance(node, (ast.Import, ast.ImportFrom)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) or (
        isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__")


def _own(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name.split(".")[0] in PACKAGES)


@functools.cache
def _libraries() -> str:
    return " ".join(f"{name}={importlib.metadata.version(name)}" for name in LIBRARIES)
