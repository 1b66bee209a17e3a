"""`litepress keys`, `publish` and `fetch`: bundles on their way to apps."""
from __future__ import annotations

from pathlib import Path

from export.delivery import publish as delivery
from export.delivery.manifest import NAME, Manifest
from pipelines.engine import runs
from pipelines.errors import UserError


def bundle_of(place: Path) -> Path:
    """The bundle's folder that `place` stands for: itself, or the one in a run's folder. Raises UserError."""
    if (place / runs.RECORD).exists():
        run = runs.load(place)
        if run.record.status != "done":
            raise UserError(f"{place}: this run did not come to its end ({run.record.status}), so it has no bundle to publish")
        return run.path("package", "bundle")
    if not (place / NAME).is_file():
        raise UserError(f"{place}: there is no bundle; give a run's folder, or a folder with {NAME}")
    return place


def make_keys(private: Path) -> Path:
    """Makes a pair of keys; the public one's file. Raises UserError."""
    if not private.absolute().parent.is_dir():
        raise UserError(f"keys: there is no folder {private.parent}")
    return _asked("keys", delivery.make_keys, private)


def publish(place: Path, destination: str, key: Path | None) -> str:
    """Publishes a bundle; where it is. Raises UserError."""
    return _asked("publish", delivery.publish, bundle_of(place), destination, key)


def fetch(source: str, wanted: str, target: Path, public: Path | None) -> Manifest:
    """Fetches `name` or `name@version`. Raises UserError."""
    name, _, version = wanted.partition("@")
    if not target.absolute().parent.is_dir():
        raise UserError(f"fetch: there is no folder {target.parent}")
    return _asked("fetch", delivery.fetch, source, name, version or None, target, public)


def _asked(command, function, *arguments):
    try:
        return function(*arguments)
    except ValueError as error:
        raise UserError(f"{command}: {error}") from error
    except OSError as error:
        raise UserError(f"{command}: {error.strerror or error}{f' ({error.filename})' if error.filename else ''}") from error
    except Exception as error:  # what object stores' clients raise is theirs
        raise UserError(f"{command}: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
