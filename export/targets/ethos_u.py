"""Arm's Ethos-U NPUs: integer TFLite files compiled by Vela, Arm's own compiler."""
from __future__ import annotations

import csv
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from export.artifacts import Coverage, Unsupported
from export.errors import last_line
from export.tflite import file as tflite_file

Accelerator = Literal["ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256",
                      "ethos-u65-512", "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024",
                      "ethos-u85-2048"]
#: What runs Vela in a process of its own.
VELA = "from ethosu.vela.vela import main; main()"
#: The operator that stands in a compiled file for all that the NPU runs.
NPU = "ethos-u"
#: How Vela says why an operator stays on the CPU.
REFUSED = re.compile(r"Warning \([^)]*\) operator: (?P<operator>\S+), \wfm: '(?P<layer>[^']*)'\n"
                     r"Reason: (?P<reason>[^\n]*)")
KIB = 1024


class Compiled(BaseModel):
    """What Vela made of a file, and what it estimates."""

    coverage: Coverage
    estimates: dict[str, float]
    notes: list[str]


def compile_file(source: Path, target: Path, *, accelerator: Accelerator, system_config: str | None = None,
                 memory_mode: str | None = None, config: Path | None = None,
                 optimise: Literal["Performance", "Size"] = "Performance",
                 arena_cache_bytes: int | None = None) -> Compiled:
    """Compile an integer TFLite file for an NPU.

    Args:
        source: the file.
        target: the compiled file, to be written.
        accelerator: the NPU and its multiply-accumulate units.
        system_config, memory_mode: sections of Vela's configuration file; Vela's choice for the NPU where not given.
        config: a configuration file in Vela's format, in the place of the one that comes with it.
        optimise: for speed, or for little memory.
        arena_cache_bytes: memory that Vela may use for what passes between operators.

    Raises:
        ValueError: nothing in the file is for an integer NPU, or Vela refuses it or a setting.
        ChildProcessError: Vela crashed, or was killed.
    """
    content = source.read_bytes()
    shapes_must_be_fixed(content)
    folder = target.parent / f".{target.stem}"
    settings = {"--accelerator-config": accelerator, "--system-config": system_config, "--memory-mode": memory_mode,
                "--config": config, "--optimise": optimise, "--arena-cache-size": arena_cache_bytes,
                "--output-dir": folder}
    options = [str(part) for option, value in settings.items() if value is not None for part in (option, value)]
    compiled = folder / f"{source.stem}_vela.tflite"
    try:
        done = subprocess.run([sys.executable, "-c", VELA, str(source), *options], capture_output=True, text=True)
        if done.returncode < 0:
            raise ChildProcessError(f"Vela was ended by {signal.Signals(-done.returncode).name}")
        if done.returncode:
            raise ValueError(f"Vela cannot compile it: {_reason(done.stderr or done.stdout)}")
        coverage = _coverage(content, compiled.read_bytes(), done.stdout + done.stderr, accelerator)
        if not coverage.taken:
            reasons = sorted({one.reason for one in coverage.left if one.reason})
            why = f": {reasons[0]}" if reasons else ""
            raise ValueError(f"the {accelerator} takes none of its operators{why}. Give an int8 variant")
        estimates, notes = _estimates(next(folder.glob("*_summary_*.csv")))
        compiled.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Compiled(coverage=coverage, estimates=estimates, notes=notes)


def shapes_must_be_fixed(content: bytes) -> None:
    """Raise ValueError where a tensor of a TFLite file has a size that varies: NPU compilers want them all fixed."""
    model = tflite_file.read(content)
    for tensor in model.subgraphs[0].tensors:
        signature = tensor.shapeSignature
        if signature is not None and any(int(size) < 0 for size in signature):
            shown = ", ".join("?" if size < 0 else str(size) for size in signature)
            raise ValueError(f"the tensor {tensor.name.decode()} has the shape ({shown}): an NPU wants every size "
                             "fixed. Convert it with a batch of one and images of one size")


def _coverage(source: bytes, compiled: bytes, messages: str, accelerator: str) -> Coverage:
    """Return how much the NPU takes: what is in the compiled file beside the NPU's own operator stays on the CPU."""
    total = sum(tflite_file.operators(source).values())
    reasons = {(match["operator"], match["layer"]): match["reason"] for match in REFUSED.finditer(messages)}
    model = tflite_file.read(compiled)
    graph = model.subgraphs[0]
    names = [tflite_file.operator_name(model, operator) for operator in graph.operators]
    left = []
    for name, operator in zip(names, graph.operators, strict=True):
        if name != NPU:
            tensor = graph.tensors[int(operator.outputs[0])].name.decode()
            reason = reasons.get((name, tensor), "")
            left.append(Unsupported(operator=name, layer=tflite_file.layer_name(tensor), reason=reason))
    return Coverage(accelerator=accelerator, taken=max(0, total - len(left)), total=total, left=left,
                    partitions=names.count(NPU))


def _estimates(summary: Path) -> tuple[dict[str, float], list[str]]:
    with open(summary, newline="") as file:
        row = next(csv.DictReader(file))
    flash = float(row["on_chip_flash_memory_used"]) + float(row["off_chip_flash_memory_used"])
    estimates = {"inferences_per_second": float(row["inferences_per_second"]),
                 "latency_ms": float(row["inference_time"]) * 1000,
                 "cycles": float(row["cycles_total"]),
                 "sram_bytes": float(row["sram_memory_used"]) * KIB,
                 "dram_bytes": float(row["dram_memory_used"]) * KIB,
                 "flash_bytes": flash * KIB,
                 "macs": float(row["nn_macs"])}
    clock = float(row["core_clock"]) / 1e6
    note = f"Vela's system configuration {row['system_config']}, memory mode {row['memory_mode']}, {clock:,.0f} MHz"
    return {name: round(value, 4) for name, value in estimates.items()}, [note]


def _reason(output: str) -> str:
    """Return what the last line of Vela's traceback says, without the name of the exception."""
    line = last_line(output)
    message = line.partition(": ")[2] or line
    return message.strip("'").removeprefix("Error: ")
