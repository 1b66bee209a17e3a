"""`litepress keys`, `publish` and `fetch`: bundles on their way to apps."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from export.delivery import publish as delivery
from export.delivery.manifest import NAME, Manifest
from pipelines.engine import runs
from pipelines.errors import UserError


def bundle_of(folder: Path) -> Path:
    """Return the bundle's folder that a folder stands for: itself, or the one in a run's folder. Raises UserError."""
    if (folder / runs.RECORD).exists():
        run = runs.load(folder)
        if run.record.status != "done":
            raise UserError(f"{folder}: this run did not finish ({run.record.status}), so it has no bundle to "
                            "publish")
        return run.path("package", "bundle")
    if not (folder / NAME).is_file():
        raise UserError(f"{folder}: there is no bundle; give a run's folder, or a folder with {NAME}")
    return folder


def make_keys(private: Path) -> Path:
    """Make a pair of keys; return the public one's file. Raises UserError."""
    if not private.absolute().parent.is_dir():
        raise UserError(f"keys: there is no folder {private.parent}")
    return _call("keys", delivery.make_keys, private)


def publish(folder: Path, destination: str, key: Path | None) -> str:
    """Publish a bundle; return where it is. Raises UserError."""
    return _call("publish", delivery.publish, bundle_of(folder), destination, key)


def fetch(source: str, requested: str, target: Path, public: Path | None) -> Manifest:
    """Fetch `name` or `name@version`; return its manifest. Raises UserError."""
    name, _, version = requested.partition("@")
    if not target.absolute().parent.is_dir():
        raise UserError(f"fetch: there is no folder {target.parent}")
    return _call("fetch", delivery.fetch, source, name, version or None, target, public)


def _call(command: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except ValueError as error:
        raise UserError(f"{command}: {error}") from error
    except OSError as error:
        file = f" ({error.filename})" if error.filename else ""
        raise UserError(f"{command}: {error.strerror or error}{file}") from error
    except Exception as error:  # what object stores' clients raise is theirs
        raise UserError(f"{command}: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
