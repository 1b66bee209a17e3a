"""A model repository on disk: what TF Serving, and the embedded server, serve from and watch.

    REPOSITORY/models.config        which models, which of their versions, which labels: ModelServerConfig, as text
    REPOSITORY/MODEL/VERSION/       a SavedModel, or a model.tflite; VERSION is a whole number

A version is copied beside its place and renamed into it, so that it is whole or not there, whatever happens meanwhile;
models.config is replaced in the same way. What was withdrawn lies in MODEL/.withdrawn and can be promoted again.
"""
from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import messages, versions
from serving.config import PLATFORM
from serving.errors import StartError
from serving.servable import TFLITE, has_saved_model

CONFIG, WITHDRAWN, LOCK = "models.config", ".withdrawn", ".lock"


class RepositoryError(Exception):
    """What is asked of a repository cannot be done: one line that says why."""


class Repository:
    """A folder of models and their versions.

    Args:
        folder: made where it is not there.
        mounted: where servers see that folder, as models.config names it; as it does already, or the folder itself,
            where not given.
    """

    def __init__(self, folder: Path, mounted: str = ""):
        self.folder, self._mounted = folder, mounted

    @property
    def mounted(self) -> str:
        """Return where servers see the folder."""
        known = [one.base_path.removesuffix(f"/{one.name}") for one in self.config().model_config_list.config]
        return self._mounted or next(iter(known), str(self.folder.absolute()))

    def models(self) -> dict[str, list[int]]:
        """Return every model with its versions, in order."""
        if not self.folder.is_dir():
            return {}
        return {path.name: result for path in sorted(self.folder.iterdir()) if path.is_dir()
                and not path.name.startswith(".")
                and (result := sorted(versions.numbered(path)))}

    def config(self) -> Any:
        """Return the ModelServerConfig of models.config; empty where there is none. Raises RepositoryError where it is
        broken."""
        if not (self.folder / CONFIG).exists():
            return model_server_config_pb2.ModelServerConfig()
        try:
            return messages.read(self.folder / CONFIG, model_server_config_pb2.ModelServerConfig)
        except StartError as error:
            raise RepositoryError(str(error)) from error

    def labels(self, model: str) -> dict[str, int]:
        """Return a model's labels and the versions that they are on."""
        return next((dict(one.version_labels) for one in self.config().model_config_list.config if one.name == model),
                    {})

    def promote(self, model: str, source: Path, extras: Mapping[str, bytes] | None = None) -> int:
        """Copy a model's folder into the repository as its next version; that version's number.

        Args:
            source: a SavedModel's folder, or one with a model.tflite.
            extras: more files by their path in the version's folder, warm-up requests for instance.

        Raises:
            RepositoryError: the source holds no model.
        """
        if not has_saved_model(source) and not (source / TFLITE).is_file():
            raise RepositoryError(f"{source}: there is no SavedModel and no {TFLITE} in it")
        home = self.folder / model
        home.mkdir(parents=True, exist_ok=True)
        with self._locked(home):
            for left in home.glob(".*.part"):
                shutil.rmtree(left)  # of a promotion that was killed
            number = max([*versions.numbered(home), *versions.numbered(home / WITHDRAWN), 0]
                         if (home / WITHDRAWN).is_dir()
                         else [*versions.numbered(home), 0]) + 1
            beside = home / f".{number}.part"
            shutil.copytree(source, beside)
            for name, content in (extras or {}).items():
                (beside / name).parent.mkdir(parents=True, exist_ok=True)
                (beside / name).write_bytes(content)
            _to_disk(beside)
            beside.rename(home / str(number))
            _to_disk(home, deep=False)
            self._write(model, self.labels(model))
        return number

    def rollback(self, model: str, to: int | None = None) -> tuple[int, list[int]]:
        """Withdraw a model's newest versions; the version that is served from now on, and those withdrawn.

        Args:
            to: that version; the one before the newest where not given.

        Raises:
            RepositoryError: there is no such version, or a label is on one that would go.
        """
        home, known = self.folder / model, self._versions(model)
        with self._locked(home):
            if to is None:
                if len(known) < 2:
                    raise RepositoryError(f"{model} has version {known[-1]} alone; there is none to go back to")
                to = known[-2]
            if to not in known:
                raise RepositoryError(f"{model} has no version {to}; it has {', '.join(map(str, known))}")
            gone = [number for number in known if number > to]
            held = [f"{label} ({number})" for label, number in self.labels(model).items() if number in gone]
            if held:
                raise RepositoryError(f"labels are on versions that would go: {', '.join(held)}. Move them first, for "
                                      f"instance to {to}")
            (home / WITHDRAWN).mkdir(exist_ok=True)
            for number in reversed(gone):
                (home / str(number)).rename(home / WITHDRAWN / str(number))
            self._write(model, self.labels(model))
        return to, gone

    def restore(self, model: str, number: int) -> None:
        """Put a withdrawn version back. Raises RepositoryError where it is not there."""
        home = self.folder / model
        if not (home / WITHDRAWN / str(number)).is_dir():
            raise RepositoryError(f"{model} has no withdrawn version {number}")
        with self._locked(home):
            (home / WITHDRAWN / str(number)).rename(home / str(number))
            self._write(model, self.labels(model))

    def label(self, model: str, label: str, number: int | None) -> None:
        """Put a label on a version, or takes it away (None). Every labelled version is served, and the newest.

        Raises:
            RepositoryError: there is no such version or label.
        """
        known, labels = self._versions(model), self.labels(model)
        if number is None and label not in labels:
            raise RepositoryError(f"{model} has no label {label}; it has {', '.join(labels) or 'none'}")
        if number is not None and number not in known:
            raise RepositoryError(f"{model} has no version {number}; it has {', '.join(map(str, known))}")
        with self._locked(self.folder / model):
            labels.pop(label, None)
            self._write(model, labels | ({label: number} if number is not None else {}))

    def _versions(self, model: str) -> list[int]:
        known = self.models()
        if model not in known:
            raise RepositoryError(f"{self.folder} has no model {model}; it has {', '.join(known) or 'none'}")
        return known[model]

    def _write(self, model: str, labels: Mapping[str, int]) -> None:
        with self._locked(self.folder):
            config = self.config()
            entries = config.model_config_list.config
            entry = next((one for one in entries if one.name == model), None) or entries.add(name=model)
            entry.base_path, entry.model_platform = f"{self.mounted}/{model}", PLATFORM
            entry.ClearField("version_labels")
            entry.ClearField("model_version_policy")
            if labels:
                for label, number in labels.items():
                    entry.version_labels[label] = number
                entry.model_version_policy.specific.versions.extend(sorted({*labels.values(),
                                                                            self.models()[model][-1]}))
            beside = self.folder / f".{CONFIG}.part"
            beside.write_text(text_format.MessageToString(config))
            _to_disk(beside)
            beside.replace(self.folder / CONFIG)

    @contextlib.contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """Return one at a time, for as long as the process lives."""
        with (folder / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _to_disk(path: Path, deep: bool = True) -> None:
    for one in [*(path.rglob("*") if deep and path.is_dir() else ()), path]:
        handle = os.open(one, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
