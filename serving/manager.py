"""Which versions of which models are loaded, and how one takes another's place without a request lost.

As TF Serving's AspiredVersionsManager with its availability-preserving policy: a new version is loaded beside the old
one, answers from then on, and the old one is unloaded after its last request. A version that cannot be loaded never
takes a good one's place. All methods run in one event loop; loading and unloading in threads.
"""
from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import gc
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from serving import config as configs
from serving import versions
from serving.errors import ServingError, failed_precondition, invalid, not_found
from serving.flags import Options
from serving.servable import Servable

log = logging.getLogger("litepress.serving")
#: Versions that have ended and are still told of, for each model.
REMEMBERED = 100


class State(enum.IntEnum):
    """As get_model_status.proto numbers them."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(eq=False)
class Version:
    """One version of a model, from its being found to its end."""

    number: int
    folder: Path
    state: State = State.START
    error: ServingError | None = None
    servable: Servable | None = None
    uses: int = 0
    idle: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    look: tuple = ()

    @property
    def loaded(self) -> Servable:
        """Return what answers; there is one as long as the version is held."""
        assert self.servable is not None
        return self.servable


@dataclasses.dataclass(eq=False)
class Model:
    """A model by its configuration, and its versions."""

    config: Any
    versions: dict[int, Version] = dataclasses.field(default_factory=dict)
    aspired: set[int] = dataclasses.field(default_factory=set)
    trouble: str = ""

    @property
    def available(self) -> list[int]:
        """Return the versions that answer, the newest last."""
        return sorted(number for number, version in self.versions.items() if version.state == State.AVAILABLE)


class Manager:
    """The models of a server.

    Args:
        options: polling, retries, labels.
        load: makes a folder's servable, warmed up; called in a thread. Raises ServingError.
    """

    def __init__(self, options: Options, load: Callable[[str, int, Path], Servable]):
        self.options, self.load = options, load
        self.config: Any = None
        self.models: dict[str, Model] = {}
        self._leaving: list[Model] = []
        self._labels: dict[str, dict[str, int]] = {}
        self._settling = versions.Settling()
        self._threads = ThreadPoolExecutor(4, "load")
        self._tasks: set[asyncio.Task] = set()
        self._changed = asyncio.Condition()
        self._configuring = asyncio.Lock()

    def hold(self, spec: Any) -> Version:
        """Return the version that a ModelSpec means; it is not unloaded until it is let go. Raises ServingError."""
        version = self._find(spec)
        version.uses += 1
        return version

    def let_go(self, version: Version) -> None:
        """End what `hold` began."""
        version.uses -= 1
        if not version.uses:
            version.idle.set()

    def _find(self, spec: Any) -> Version:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        model, choice = self.models.get(spec.name), spec.WhichOneof("version_choice")
        if choice is None:
            if model is None or not model.available:
                raise not_found(f"Servable not found for request: Latest({spec.name})")
            return model.versions[model.available[-1]]
        number = spec.version.value if choice == "version" else self._labelled(spec.name, spec.version_label)
        if model is None or number not in model.available:
            raise not_found(f"Servable not found for request: Specific({spec.name}, {number})")
        return model.versions[number]

    def _labelled(self, name: str, label: str) -> int:
        try:
            return self._labels[name][label]
        except KeyError:
            raise invalid(f"Unrecognized servable version label: {label}") from None

    def states(self, spec: Any) -> list[Version]:
        """Return the versions that a ModelSpec means, the newest first. Raises ServingError (NOT_FOUND)."""
        known = self.models[spec.name].versions if spec.name in self.models else {}
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            if not known:
                raise not_found(f"Could not find any versions of model {spec.name}")
            return [known[number] for number in sorted(known, reverse=True)]
        number = spec.version.value if choice == "version" else self._labelled(spec.name, spec.version_label)
        if number not in known:
            raise not_found(f"Could not find version {number} of model {spec.name}")
        return [known[number]]

    @property
    def ready(self) -> bool:
        """Return whether every model has a version that answers."""
        return bool(self.models) and all(model.available for model in self.models.values())

    async def configure(self, config: Any) -> None:
        """Take a ModelServerConfig: models it no longer names are unloaded; return when the new ones answer.

        Raises:
            ServingError: the configuration is not possible (nothing has changed then), or a new model did not become
                available.
        """
        async with self._configuring:
            configs.check(config)
            if config.WhichOneof("config") is None:
                return
            labels = self._new_labels(config)
            new = {one.name: one for one in config.model_config_list.config}
            fresh = set(new) - set(self.models)
            for name in sorted(fresh):
                if trouble := (await self._found(name, new[name].base_path))[1]:
                    raise not_found(trouble)
            for name in set(self.models) - set(new):
                self._leaving.append(gone := self.models.pop(name))
                for version in list(gone.versions.values()):
                    self._start(self._unload(gone, version))
            for name, one in new.items():
                self.models.setdefault(name, Model(one)).config = one
            self.config, self._labels = config, labels
            await self.look()
            await self._await_models(fresh)

    def _new_labels(self, config: Any) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for one in config.model_config_list.config:
            known = self.models.get(one.name)
            for label, number in one.version_labels.items():
                moved = self._labels.get(one.name, {}).get(label, number) != number
                unused = self.options.allow_version_labels_for_unavailable_models and not moved
                if not unused and (known is None or number not in known.available):
                    raise failed_precondition(f"Request to assign label to version {number} of model {one.name}, "
                                              "which is not currently available for inference. To assign it before "
                                              "the version is loaded, start with "
                                              "--allow_version_labels_for_unavailable_models")
                labels.setdefault(one.name, {})[label] = number
        return labels

    async def _await_models(self, names: set[str]) -> None:
        def settled(name: str) -> bool:
            model = self.models.get(name)
            if model is None:
                return True
            requested = [model.versions.get(number) for number in model.aspired]
            return bool(requested) and all(version is not None and (version.state in (State.AVAILABLE, State.END) or (
                version.error is not None and bool(model.available))) for version in requested)

        while not all(map(settled, names)):
            async with self._changed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.2)
            if not all(map(settled, names)) and self.options.file_system_poll_wait_seconds >= 0:
                await self.look()
        failed = [(name, version) for name in sorted(names) if name in self.models and not self.models[name].available
                  for version in self.models[name].versions.values()]
        if failed:
            message = ", ".join(f"{{name: {name} version: {version.number} due to error: {version.error}}}" for name,
                             version in failed)
            raise ServingError(grpc.StatusCode.UNKNOWN, f"{len(failed)} model(s) did not become available: "
                                                        f"{{{message}}}")

    async def watch(self) -> None:
        """Look for new versions until cancelled."""
        while self.options.file_system_poll_wait_seconds > 0:
            await asyncio.sleep(self.options.file_system_poll_wait_seconds)
            await self.look()

    async def look(self) -> None:
        """Look at every base path once, and start what follows from it."""
        loop = asyncio.get_running_loop()
        for name, model in list(self.models.items()):
            result, trouble = await self._found(name, model.config.base_path)
            if trouble and trouble != model.trouble:
                log.warning(trouble)
            model.trouble = trouble
            if self.models.get(name) is not model or (trouble and model.versions):
                continue  # an empty or unreadable base path takes no good version away
            aspired = versions.wanted(result, model.config.model_version_policy)
            live = {number for number, version in model.versions.items() if version.state != State.END}
            whole = {number: folder for number, folder in aspired.items()
                     if number in live or await loop.run_in_executor(self._threads, self._settling.whole, folder)}
            model.aspired = set(aspired)
            self._follow(name, model, whole)
        self._settling.keep(version.folder for model in self.models.values() for version in model.versions.values())

    async def _found(self, name: str, base: str) -> tuple[dict[int, Path], str]:
        """Return the version folders under a base path, and what is wrong where there are none."""
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, versions.numbered, Path(base))
        except OSError as error:
            return {}, f"Could not find base path {base} for servable {name} ({error.strerror or error})"
        return result, "" if result else f"No versions of servable {name} found under base path {base}"

    def _follow(self, name: str, model: Model, whole: dict[int, Path]) -> None:
        for number, folder in sorted(whole.items(), reverse=True):
            known = model.versions.get(number)
            if known is None or (known.state == State.END
                                 and (known.error is None or known.look != versions.fingerprint(folder))):
                model.versions[number] = Version(number, folder)
                self._start(self._load(name, model, model.versions[number]))
        if any(number in model.aspired for number in model.available):
            for number in [number for number in model.available if number not in model.aspired]:
                self._start(self._unload(model, model.versions[number]))

    async def _load(self, name: str, model: Model, version: Version) -> None:
        loop = asyncio.get_running_loop()
        version.state, version.look = State.LOADING, versions.fingerprint(version.folder)
        log.info("loading %s version %d", name, version.number)
        for tries_left in range(max(0, self.options.max_num_load_retries), -1, -1):
            try:
                version.servable = await loop.run_in_executor(self._threads, self.load, name, version.number,
                                                              version.folder)
                version.error = None
                break
            except ServingError as error:
                version.error = error
                log.error("loading %s version %d failed: %s", name, version.number, error)
                if error.code.name == "NOT_FOUND" or not tries_left or self.models.get(name) is not model:
                    break
                await asyncio.sleep(max(0, self.options.load_retry_interval_micros / 1e6))
                if versions.fingerprint(version.folder) != version.look:
                    break
        version.state = State.AVAILABLE if version.servable else State.END
        if version.servable:
            log.info("%s version %d answers", name, version.number)
        if self.models.get(name) is not model:
            await self._unload(model, version)
        await self._tell()
        await self.look()  # what it takes the place of can go

    async def _unload(self, model: Model, version: Version) -> None:
        if version.state != State.AVAILABLE or version.servable is None:
            return
        version.state = State.UNLOADING
        while version.uses:
            version.idle.clear()
            await version.idle.wait()
        servable, version.servable = version.servable, None
        await asyncio.get_running_loop().run_in_executor(self._threads, _close, servable)
        version.state = State.END
        log.info("%s version %d is unloaded", model.config.name, version.number)
        ended = sorted(number for number, one in model.versions.items() if one.state == State.END and one.error is None)
        for number in ended[:-REMEMBERED]:
            del model.versions[number]
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Unload everything; requests in flight are waited for."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*(self._unload(model, version) for model in [*self.models.values(), *self._leaving]
                               for version in list(model.versions.values())))
        self._threads.shutdown(wait=False, cancel_futures=True)


def _close(servable: Servable) -> None:
    servable.close()
    gc.collect()

