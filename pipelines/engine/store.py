"""The store of artifacts: folders named by what they were made from, either whole or absent."""
from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from export.whole import whole as whole_file
from pipelines.engine import journal
from pipelines.engine.locks import alone
from pipelines.errors import UserError

MANIFEST = "artifact.json"
#: Files that say when or how fast something was done. They differ from run to run and are no part of an artifact's
#: digest.
MEASURED = {journal.NAME, "log.txt", "latency.json"}


class File(BaseModel):
    """A file of an artifact."""

    sha256: str
    bytes: int


class Artifact(BaseModel):
    """A folder that a stage made.

    Args:
        key: what it was made from: recipe slice, upstream digests, code version.
        digest: what it holds; the measured files aside.
        seconds: how long the stage took.
    """

    stage: str
    key: str
    digest: str
    seconds: float
    summary: str
    files: dict[str, File]
    path: Path

    @property
    def name(self) -> str:
        return f"{self.stage}-{self.key[:16]}"


class Store:
    """All artifacts below a folder.

    Args:
        root: the folder, made when the first artifact is.
    """

    def __init__(self, root: Path):
        self.root = root

    def folder(self, stage: str, key: str) -> Path:
        """Return where the artifact is, or will be."""
        return self.root / f"{stage}-{key[:16]}"

    def work(self, stage: str, key: str) -> Path:
        """Return where the artifact is being made. Kept over interruptions: checkpoints lie here."""
        return self.root / ".work" / f"{stage}-{key[:16]}"

    def find(self, stage: str, key: str) -> Artifact | None:
        """Return the artifact, every file of it checked. Raises UserError where a file was altered or deleted."""
        folder = self.folder(stage, key)
        if not folder.is_dir():
            return None
        try:
            artifact = Artifact.model_validate({**json.loads((folder / MANIFEST).read_bytes()), "path": folder})
        except (OSError, ValueError):
            raise _altered(folder, stage, MANIFEST, "is missing or damaged") from None
        for name, file in artifact.files.items():
            path = folder / name
            if not path.is_file():
                raise _altered(folder, stage, name, "has been deleted")
            if path.stat().st_size != file.bytes or _sha256(path) != file.sha256:
                raise _altered(folder, stage, name, "has been altered: it does not match its digest")
        return artifact

    def commit(self, stage: str, key: str, seconds: float, summary: str) -> Artifact:
        """Make the work folder the artifact, in one rename. An artifact that stood there is put into the trash."""
        work, folder = self.work(stage, key), self.folder(stage, key)
        files = {str(path.relative_to(work)): File(sha256=_sha256(path), bytes=path.stat().st_size)
                 for path in sorted(work.rglob("*")) if path.is_file() and path.name != MANIFEST}
        lasting = "\n".join(f"{name} {file.sha256}" for name,
                            file in sorted(files.items()) if Path(name).name not in MEASURED)
        artifact = Artifact(stage=stage, key=key, digest=hashlib.sha256(lasting.encode()).hexdigest(),
                            seconds=round(seconds, 3),
                            summary=summary, files=files, path=folder)
        with open(work / MANIFEST, "w", encoding="utf-8") as file:
            file.write(artifact.model_dump_json(exclude={"path"}, indent=1))
            file.flush()
            os.fsync(file.fileno())
        self.discard(folder)
        work.rename(folder)
        return artifact

    def discard(self, folder: Path) -> None:
        """Move a folder, if it is there, to the trash, from where `litepress gc` takes it."""
        if folder.exists():
            trash = self.root / ".trash"
            trash.mkdir(exist_ok=True)
            number = 0
            while (place := trash / f"{folder.name}.{number}").exists():
                number += 1
            folder.rename(place)

    @contextlib.contextmanager
    def lock(self, stage: str, key: str) -> Iterator[None]:
        """Hold other runs back from making the same artifact; let go when the process ends, however it ends."""
        with contextlib.ExitStack() as stack:
            with writable(self.root / ".work"):
                stack.enter_context(alone(self.work(stage, key).with_suffix(".lock")))
            yield

    def busy(self, work: Path) -> bool:
        """Return whether some process is making the artifact of a work folder right now."""
        try:
            with open(work.with_suffix(".lock"), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

    def size(self, folder: Path) -> int:
        """Bytes of all files below a folder."""
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path`, see `export.whole`, that replaces it in the end. Raises UserError where it cannot be
    written."""
    with writable(path), whole_file(path, replace=True) as beside:
        yield beside


@contextlib.contextmanager
def writable(place: Path) -> Iterator[None]:
    """Turn what the operating system says of a place that cannot be written into one line for the user."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(place, error) from error


def _cannot_write(place: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(_existing(place)).free
        return UserError(f"{place}: the disk is full ({free / 1e6:.0f} MB free). Free some space (litepress gc shows "
                         "what no run needs) "
                         "and run again: it resumes where it stopped")
    return UserError(f"{place}: cannot be written ({error.strerror or error}). Give a folder that can with --runs")


def _existing(place: Path) -> Path:
    while not place.exists():
        place = place.parent
    return place


def _altered(folder: Path, stage: str, name: str, what: str) -> UserError:
    return UserError(f"{folder}/{name} {what}. Put the file back, or make the artifact again with --from "
                     f"{stage}")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
