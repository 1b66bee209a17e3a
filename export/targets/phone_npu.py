"""The NPUs of phones and laptops, compiled for ahead of time by LiteRT with their makers' plugins."""
from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.artifacts import Coverage

PARTITIONED = re.compile(r"Partitioned subgraph<\d+>, selected (\d+) ops, from a total of (\d+) ops. "
                         r"resulted in (\d+) partitions")
LOG = re.compile(r"See (\S+\.error)")


@dataclasses.dataclass(frozen=True)
class Vendor:
    """A maker of NPUs.

    Args:
        module: of LiteRT, that knows its systems on chip.
        sdk: module of the package that brings its compiler.
        package: the package's name.
    """

    module: str
    sdk: str
    package: str


VENDORS = {"qualcomm": Vendor("qualcomm", "ai_edge_litert_sdk_qualcomm", "ai-edge-litert-sdk-qualcomm"),
           "mediatek": Vendor("mediatek", "ai_edge_litert_sdk_mediatek", "ai-edge-litert-sdk-mediatek"),
           "google-tensor": Vendor("google_tensor", "ai_edge_litert_sdk_google_tensor",
                                   "ai-edge-litert-sdk-google-tensor"),
           "intel-npu": Vendor("intel_openvino", "ai_edge_litert_sdk_intel", "ai-edge-litert-sdk-intel")}


def missing(vendor: str) -> str:
    """Return what to install for a vendor's NPUs; an empty text where it is there."""
    package = VENDORS[vendor].package
    if importlib.util.find_spec(VENDORS[vendor].sdk) is not None:
        return ""
    return (f"{package} is not installed; .venv/bin/pip install {package} brings it, with the maker's compiler from "
            "its own servers")


def versions(vendor: str) -> dict[str, str]:
    """Return package to version, of what compiles for a vendor's NPUs and is installed."""
    installed = {}
    for package in (VENDORS[vendor].package, *(("openvino",) if vendor == "intel-npu" else ())):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[package] = importlib.metadata.version(package)
    return installed


def systems(vendor: str) -> list[str]:
    """Return the systems on chip of a vendor that LiteRT compiles for."""
    return [str(model.value) for model in _targets(vendor).SocModel if model.value != "ALL"]


def check_system(vendor: str, soc: str) -> None:
    """Raise ValueError where a vendor has no such system on chip, with the nearest that it has."""
    supported = systems(vendor)
    if soc in supported:
        return
    nearest = difflib.get_close_matches(soc, supported, n=1, cutoff=0.5)
    question = f"Did you mean {nearest[0]}? " if nearest else ""
    raise ValueError(f"{vendor} has no system on chip {soc} that LiteRT compiles for. {question}"
                     f"Known: {', '.join(supported)}")


def compile_file(source: Path, target: Path, vendor: str, soc: str) -> Coverage:
    """Compile a TFLite file for a system on chip; return how much of it the NPU takes.

    Raises:
        ValueError: the maker's compiler is missing or refuses the model. Where it had chosen its operators before, the
            message says how many.
    """
    check_system(vendor, soc)
    from ai_edge_litert.aot import aot_compile

    targets = _targets(vendor)
    work = target.parent / f".{target.stem}"
    chip = targets.Target(targets.SocModel(soc))
    with _libraries(vendor):
        result = aot_compile.aot_compile(str(source), str(work), target=chip, keep_going=True)
    if result.failed_backends:
        raise ValueError(_failure(vendor, soc, str(result.failed_backends[0][1])))
    (_, model), = result.models_with_backend
    model.save(str(target), export_only=True)
    stats = model.partition_stats.subgraph_stats
    return Coverage(accelerator=soc, taken=sum(one.num_ops_offloaded for one in stats),
                    total=sum(one.num_total_ops for one in stats),
                    partitions=sum(one.num_partitions_offloaded for one in stats))


def _failure(vendor: str, soc: str, message: str) -> str:
    """Return why a compilation failed, out of the compiler's log."""
    log = LOG.search(message)
    text = Path(log[1]).read_text(errors="replace") if log and Path(log[1]).exists() else message
    if log:
        Path(log[1]).unlink(missing_ok=True)
    partitions = [tuple(map(int, match)) for match in PARTITIONED.findall(text)]
    taken, total = sum(one[0] for one in partitions), sum(one[1] for one in partitions)
    so_far = f"the {soc} takes {taken} of {total} operators, but " if partitions else ""
    absent = re.search(r"([\w.+-]+\.so[\w.]*): cannot open shared object", text)
    if absent:
        return f"{so_far}its compiler needs {absent[1]}, which is not here; {missing(vendor) or 'install its SDK'}"
    errors = [line.strip() for line in text.splitlines() if "ERROR" in line]
    return f"{so_far}its compiler refuses the model: {(errors or [message])[0][:200]}"


@contextlib.contextmanager
def _libraries(vendor: str) -> Iterator[None]:
    """Let the maker's plugin find the libraries that other packages bring."""
    package = importlib.util.find_spec("openvino") if vendor == "intel-npu" else None
    if package is None or package.origin is None:
        yield
        return
    before = os.environ.get("LD_LIBRARY_PATH")
    folder = str(Path(package.origin).parent / "libs")
    os.environ["LD_LIBRARY_PATH"] = f"{folder}{os.pathsep}{before}" if before else folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["LD_LIBRARY_PATH"]
        else:
            os.environ["LD_LIBRARY_PATH"] = before


def _targets(vendor: str) -> Any:
    return importlib.import_module(f"ai_edge_litert.aot.vendors.{VENDORS[vendor].module}.target")
