"""Targets that are compiled for devices: NPUs, microcontrollers, Apple's."""
from __future__ import annotations

import collections
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from export.artifacts import Exported
from export.delivery import snippets
from export.keras_models import file as keras_file
from export.predictors.two_files import FRONT_END, NETWORK
from export.targets import coreml, ethos_u, microcontroller, phone_npu, replacements, tools
from export.targets.ethos_u import Accelerator
from export.tflite import file as tflite_file
from pipelines.targets.target import ExportContext, FromVariants, Target, fresh, sizes
from pipelines.variants.record import VariantRecord
from pipelines.variants.split_front_end import front_file
from pipelines.variants.variant import Variant


class EthosU(FromVariants, name="ethos-u", shorthand="accelerator"):
    """Integer files compiled for Arm's Ethos-U NPUs by Vela.

    Args:
        accelerator: the NPU and its multiply-accumulate units.
        system_config, memory_mode: sections of Vela's configuration file; Vela's choice for the NPU where not given.
        config: a file of such sections, in the place of Vela's own.
        optimise: for speed, or for little memory.
        arena_cache_kb: memory that Vela may use for what passes between operators.
        sram_kb, flash_kb: what the device has; a model that needs more is refused.
    """

    extra, runs, takes = "ethos-u", False, ("int8",)
    estimates = ("coverage", "latency_ms", "inferences_per_second", "cycles", "sram_bytes", "dram_bytes", "flash_bytes")
    accelerator: Accelerator = "ethos-u55-128"
    system_config: str | None = None
    memory_mode: str | None = None
    config: str | None = None
    optimise: Literal["Performance", "Size"] = "Performance"
    arena_cache_kb: int | None = Field(None, ge=1)
    sram_kb: float | None = Field(None, gt=0)
    flash_kb: float | None = Field(None, gt=0)

    def export_one(self, context: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        path = folder / f"{variant.name}.tflite"
        compiled = self._compiled(context.file(variant.name), path)
        return Exported(
            variant=variant.name, target=self.title, path=context.relative(path), encoding=variant.encoding,
            integer=variant.integer, **sizes(path), runs=self.runs, summary=f"compiled for the {self.accelerator}",
            coverage=compiled.coverage, estimates=compiled.estimates, notes=compiled.notes)

    def preflight(self, files: Mapping[str, Path]) -> list[str]:
        lines = []
        for source in files.values():
            with tempfile.TemporaryDirectory() as folder:
                compiled = self._compiled(source, Path(folder) / "compiled.tflite")
            lines.append(f"the {self.accelerator} takes {compiled.coverage}")
            lines.extend(replacements.advice(compiled.coverage))
            if uneven := replacements.uneven_channels(source.read_bytes()):
                lines.append(f"channels that are not a multiple of {replacements.CHANNELS} leave multipliers idle: "
                             f"{', '.join(uneven[:6])}")
        return lines

    def _compiled(self, source: Path, target: Path) -> ethos_u.Compiled:
        compiled = ethos_u.compile_file(
            source, target, accelerator=self.accelerator, system_config=self.system_config,
            memory_mode=self.memory_mode, config=Path(self.config) if self.config else None, optimise=self.optimise,
            arena_cache_bytes=self.arena_cache_kb * 1024 if self.arena_cache_kb else None)
        check_memory(self.sram_kb, compiled.estimates["sram_bytes"], "sram_kb", "SRAM")
        check_memory(self.flash_kb, compiled.estimates["flash_bytes"], "flash_kb", "flash")
        return compiled


class Microcontroller(FromVariants, name="microcontroller"):
    """Integer files, and others that are named, as C++ arrays for TensorFlow Lite Micro, with the arena that they need.

    Args:
        sram_kb, flash_kb: what the device has; a model that needs more is refused.
    """

    extra, takes, estimates = "microcontroller", ("int8",), ("arena_bytes", "flash_bytes")
    takes_named, takes_split = ("int16x8", "float32"), True
    sram_kb: float | None = Field(None, gt=0)
    flash_kb: float | None = Field(None, gt=0)

    def export_one(self, context: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        if "front_end" in variant.details:
            return self._export_two(context, variant, folder)
        content = context.file(variant.name).read_bytes()
        path, arena = microcontroller.write(content, f"{context.about.name}_{variant.name}", folder)
        self._check_sizes(arena, len(content))
        return Exported(  # with the bytes of the .tflite file, which the device holds, and not those of the .cc file
            variant=variant.name, target=self.title, path=context.relative(path), encoding=variant.encoding,
            integer=variant.integer, bytes=variant.bytes, zipped=variant.zipped, runs=self.runs,
            summary=f"C++ array, tensor arena of {arena / 1024:,.0f} kB", operators=tflite_file.operators(content),
            estimates={"arena_bytes": arena, "flash_bytes": len(content)})

    def _export_two(self, context: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        """Make an array of each of the two files of a variant, in a folder of their own."""
        both = fresh(folder / variant.name)
        network = context.file(variant.name)
        contents = {FRONT_END: network.with_name(front_file(variant.name)).read_bytes(), NETWORK: network.read_bytes()}
        arenas = [microcontroller.write(content, f"{context.about.name}_{variant.name}_{part}", both)[1]
                  for part, content in contents.items()]
        flash = sum(map(len, contents.values()))
        self._check_sizes(sum(arenas), flash)
        kinds = sum((collections.Counter(tflite_file.operators(one)) for one in contents.values()),
                    collections.Counter())
        first, second = (f"{arena / 1024:,.0f} kB" for arena in arenas)
        return Exported(
            variant=variant.name, target=self.title, path=context.relative(both), encoding=variant.encoding,
            bytes=variant.bytes, zipped=variant.zipped, runs=self.runs, operators=dict(kinds),
            summary=f"C++ arrays, tensor arenas of {first} for the front end and {second} for the network",
            estimates={"arena_bytes": sum(arenas), "flash_bytes": flash})

    def preflight(self, files: Mapping[str, Path]) -> list[str]:
        lines = []
        fronts = [front for path in files.values() if (front := path.with_name(front_file(path.stem))).exists()]
        for source in (*files.values(), *fronts):
            arena, flash = microcontroller.arena_bytes(source.read_bytes()), source.stat().st_size
            self._check_sizes(arena, flash)
            lines.append(f"a tensor arena of {arena / 1024:,.0f} kB, a model of {flash / 1024:,.0f} kB")
        return lines

    def _check_sizes(self, arena: int, flash: int) -> None:
        check_memory(self.sram_kb, arena, "sram_kb", "SRAM")
        check_memory(self.flash_kb, flash, "flash_kb", "flash")


class PhoneNPU(FromVariants):
    """What targets have in common that LiteRT compiles for ahead of time with the maker's plugin.

    Args:
        soc: the system on chip.
    """

    runs, takes, estimates = False, ("int8", "float32"), ("coverage",)
    soc: str

    @field_validator("soc")
    @classmethod
    def must_be_known(cls, soc: str) -> str:
        phone_npu.check_system(str(cls.entry_name), soc)
        return soc

    @classmethod
    def ready(cls) -> str:
        return phone_npu.missing(str(cls.entry_name))

    def versions(self) -> dict[str, str]:
        return phone_npu.versions(str(self.entry_name))

    def export_one(self, context: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        path = folder / f"{variant.name}.tflite"
        coverage = phone_npu.compile_file(context.file(variant.name), path, str(self.entry_name), self.soc)
        return Exported(
            variant=variant.name, target=self.title, path=context.relative(path), encoding=variant.encoding,
            integer=variant.integer, **sizes(path), runs=self.runs, summary=f"compiled for the {self.soc}",
            coverage=coverage)


class Qualcomm(PhoneNPU, name="qualcomm", shorthand="soc"):
    """Files compiled for the NPUs of Qualcomm's Snapdragons."""


class MediaTek(PhoneNPU, name="mediatek", shorthand="soc"):
    """Files compiled for the NPUs of MediaTek's Dimensities."""


class GoogleTensor(PhoneNPU, name="google-tensor", shorthand="soc"):
    """Files compiled for the TPUs of Google's Tensor phones."""


class IntelNPU(PhoneNPU, name="intel-npu", shorthand="soc"):
    """Files compiled for the NPUs of Intel's Core Ultra."""

    def missing(self) -> str:
        """Return nothing where OpenVINO is there: it alone chooses the operators, so that the line says how many the
        NPU would take."""
        return "" if tools.missing("openvino") == "" else self.ready()


class CoreML(Target, name="coreml", shorthand="weights"):
    """ML programs for Apple's Neural Engine, GPU and CPU.

    Args:
        weights: a package for each way to write them.
    """

    extra, runs = "coreml", sys.platform == "darwin"
    weights: list[coreml.Weights] = Field(["float16"], min_length=1)

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        return list(self.weights)

    def export(self, context: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        if context.model.suffix == ".tflite":
            raise ValueError("Core ML is converted from a Keras model, and this one is a TFLite file")
        model = keras_file.load(context.model)
        folder = fresh(context.folder / self.title)
        name = snippets.class_name(context.about.name).removesuffix("Classifier")
        exported = []
        for weights in self.weights:
            path = folder / f"{name}_{weights}.mlpackage"
            coreml.convert(model, weights, context.about, path)
            exported.append(Exported(
                variant=weights, target=self.title, path=context.relative(path), **sizes(path), runs=self.runs,
                summary=coreml.SUMMARY[weights], operators=coreml.structure(path)["operations"]))
        return exported


def check_memory(limit_kb: float | None, required: float, setting: str, memory: str) -> None:
    """Raise ValueError where a model needs more bytes of a memory than the device has."""
    if limit_kb is not None and required > limit_kb * 1024:
        raise ValueError(f"it needs {required / 1024:,.1f} kB of {memory}, and {setting} says {limit_kb:,.1f}. Take a "
                         "smaller model, smaller inputs, or a device with more")
