"""A server of TF Serving's protocol, in a thread of this process."""
from __future__ import annotations

import atexit
import contextlib
import html
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from etils import epy

from export.signature import DEFAULT, Arrays, Signature
from litepress.predictors import named
from pipelines.engine import workers
from pipelines.errors import UserError
from pipelines.tools.serve import versions_of

with epy.lazy_imports():
    import numpy as np


class Server:
    """A model that is served until `stop`, the end of the `with` block, or the end of the process.

    Args:
        path: a run's folder, or one of numbered versions.
        name: of the model; the recipe's, or the folder's, where not given.
        flags: of tensorflow_model_server.

    Raises:
        UserError: there is no SavedModel, or a flag is wrong.
    """

    def __init__(self, path: Path, name: str | None, flags: Mapping[str, Any]):
        base, own_name = versions_of(path)
        self.name = name or own_name
        with workers.quiet():  # TensorFlow's import prints a page
            from serving import embedded
            from serving.client import GrpcClient
            from serving.errors import StartError
            from serving.flags import parse
        settings = {"file_system_poll_wait_seconds": 0, **flags, "model_name": self.name,
                    "model_base_path": base.absolute()}
        self._stack = contextlib.ExitStack()
        try:
            options = parse([f"--{flag}={_written(value)}" for flag, value in settings.items()])
            with workers.quiet(), _without_messages():
                running = self._stack.enter_context(embedded.running(options))
        except StartError as error:
            raise UserError(f"serve: {error}") from error
        #: host:port of each protocol.
        self.grpc, self.rest = running.grpc, running.rest
        self._client = self._stack.enter_context(GrpcClient(self.grpc, self.name))
        self._stopped = False
        atexit.register(self.stop)

    @property
    def url(self) -> str:
        """Return the model's address over REST: behind it stands `:predict`."""
        return f"http://{self.rest}/v1/models/{self.name}"

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Return the ways to call the model, by name."""
        return self._client.signatures

    def predict(self, inputs: Arrays | np.ndarray, signature: str = DEFAULT) -> dict[str, np.ndarray]:
        """Return what the server answers over gRPC: outputs by name, (examples, …) each.

        Args:
            inputs: by name; or the only one.

        Raises:
            UserError: the server is stopped, or refuses the inputs.
        """
        from serving.errors import ServingError

        if self._stopped:
            raise UserError(f"serve: the server of {self.name} is stopped; start it again")
        try:
            if signature not in self.signatures:
                raise ValueError(f"there is no signature {signature}; there are {', '.join(self.signatures)}")
            chosen = self.signatures[signature]
            return self._client.predict(chosen.fit(named(inputs, chosen)), signature)
        except (ServingError, ValueError) as error:
            raise UserError(f"serve: {self.name}: {error}") from error

    def stop(self) -> None:
        """End the server; requests in flight are answered first."""
        if not self._stopped:
            self._stopped = True
            atexit.unregister(self.stop)
            self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Server of {self.name}: " + ("stopped" if self._stopped else f"gRPC {self.grpc}, REST {self.url}")

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """Keep off the notebook what TensorFlow says where somebody types: which variables it restores, and what is
    deprecated."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
