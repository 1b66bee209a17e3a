"""`litepress generate` of a model that takes and gives strings: on a server, or in a SavedModel."""
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from etils import epy

from export.predictors import open_predictor
from export.signature import Signature
from pipelines.errors import UserError
from pipelines.tasks.language_model.of_texts import COUNT, GENERATED
from pipelines.tasks.language_model.writing import Writing
from pipelines.tasks.text_serving import TEXT

with epy.lazy_imports():
    import numpy as np

if TYPE_CHECKING:
    from export.predictors import Predictor

#: The name that TF Serving gives to a model that has none.
MODEL = "default"
#: Seconds that a server may take for a text.
DEADLINE = 600.0
#: What a signature gives beside the whole text: what was added alone, and why no more was.
ADDED, REASON, TOO_LONG = "added", "finish_reason", "prompt_too_long"
ADDRESS = re.compile(r"(?:(?P<scheme>https?|grpc)(?:://| ))?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d+)"
                     r"(?:/v1/models/(?P<model>[^/:]+)|/(?P<other>[^/:]+))?"
                     r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?/?")


class Address(NamedTuple):
    """Where a server has a model, and how it is asked."""

    written: str
    over_grpc: bool
    is_secure: bool
    host: str
    model: str
    version: int | None
    label: str | None


def address(text: str) -> Address | None:
    """Return what an address says: http://host:port/v1/models/NAME, grpc://host:port/NAME or host:port/NAME, all with
    a version or a label behind it where it matters; None of a path. Raises UserError where it is no address of a
    model."""
    match = ADDRESS.fullmatch(text)
    if match is None or (match["scheme"] is None and Path(text).exists()):
        if re.match(r"(https?|grpc)://", text):
            raise UserError(f"generate: {text} is not the address of a model; give http://host:port/v1/models/NAME or "
                            "grpc://host:port/NAME")
        return None
    model = match["model"] or match["other"] or MODEL
    version = int(match["version"]) if match["version"] else None
    return Address(text, match["scheme"] in (None, "grpc"), match["scheme"] == "https",
                   f"{match['host']}:{match['port']}", model, version, match["label"])


def asked(where: Address, prompt: str, how: Writing) -> str:
    """Return what a server's model adds to a text. Raises UserError."""
    from serving import client
    from serving.errors import ServingError

    access = client.Access(where.host, where.model, version=where.version, label=where.label, deadline=DEADLINE,
                           tls=client.Tls() if where.is_secure else None)
    kind = client.GrpcClient if where.over_grpc else client.RestClient
    try:
        with kind(access) as connection:
            return _continued(connection, where.written, prompt, how)
    except ServingError as error:
        raise UserError(f"generate: {where.written}: {error.message.splitlines()[0][:300]} (model {where.model}; give "
                        "http://host:port/v1/models/NAME or grpc://host:port/NAME of a server that is up)") from error


def of_folder(folder: Path, prompt: str, how: Writing) -> str:
    """Return what a SavedModel adds to a text. Raises UserError."""
    return _continued(open_predictor(folder), str(folder), prompt, how)


def _continued(predictor: Predictor, name: str, prompt: str, how: Writing) -> str:
    own = how.sampling
    settings = {"temperature": own.temperature, "top_k": own.top_k, "top_p": own.top_p, "seed": own.seed,
                "repetition_penalty": own.repetition_penalty, "beams": how.beams, "min_tokens": how.least}
    usual = {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0, "beams": 1, "min_tokens": 0}
    needed = {option for option, value in usual.items() if settings[option] != value}
    if "temperature" in needed:
        needed.add("seed")
    signature = _signature(predictor.signatures, name, needed)
    values = {COUNT: how.count, **settings}
    inputs = {one.name: np.array([values[one.name]], one.dtype) for one in signature.inputs if one.name != TEXT}
    inputs[TEXT] = np.array([prompt.encode()], object)
    answer = predictor.predict(inputs, signature.name)
    if REASON in answer and _text(answer[REASON]) == TOO_LONG:
        raise UserError(f"generate: --prompt has as many tokens as {name} takes, or more; give a shorter one")
    if ADDED in answer:
        text = _text(answer[ADDED])
    else:  # how the prompt reads by itself: without capitals, perhaps
        before = predictor.predict({**inputs, COUNT: np.zeros_like(inputs[COUNT])}, signature.name)
        text = _text(answer[GENERATED])[len(_text(before[GENERATED])):]
    return text[:min([place for place in (text.find(stop) for stop in how.stops) if place >= 0], default=len(text))]


def _signature(signatures: Mapping[str, Signature], name: str, needed: set[str]) -> Signature:
    """Return the signature that goes on with texts, and takes what is needed and as little else as can be. Raises
    UserError."""
    known = {"temperature", "top_k", "top_p", "seed", "repetition_penalty", "beams", "min_tokens", TEXT, COUNT}
    fits = [(taken, one) for one in signatures.values() if (taken := {each.name for each in one.inputs}) <= known
            and taken >= {TEXT, COUNT} and GENERATED in {each.name for each in one.outputs}]
    if not fits:
        raise UserError(f"generate: {name} has the signatures {', '.join(signatures)}, and none that takes {TEXT} and "
                        f"{COUNT} and gives {GENERATED}; give a language model")
    enough = [(len(taken), one.name) for taken, one in fits if needed <= taken]
    if not enough:
        most = max((taken for taken, _ in fits), key=len)
        lacks = ", ".join(f"--{one.replace('_', '-')}" for one in sorted(needed - most))
        raise UserError(f"generate: {name} takes no {lacks}; leave it out, or give a file of the model")
    return signatures[min(enough)[1]]


def _text(values: np.ndarray) -> str:
    value = values.reshape(-1)[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
