"""Targets that are compiled for devices: NPUs, microcontrollers, Apple's."""
from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from export.artifacts import Exported
from export.delivery import snippets
from export.keras_models import file as keras_file
from export.targets import coreml, ethos_u, microcontroller, phone_npu, replacements, tools
from export.targets.ethos_u import Accelerator
from export.tflite import file as tflite_file
from pipelines.targets.target import ExportContext, FromVariants, Target, record
from pipelines.variants.record import VariantRecord
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

    def export_one(self, dock: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        path = folder / f"{variant.name}.tflite"
        found = self._compiled(dock.file(variant.name), path)
        return self.made(dock, variant, path, summary=f"compiled for the {self.accelerator}", coverage=found.coverage,
                         estimates=found.estimates, notes=found.notes)

    def preflight(self, files: Mapping[str, Path]) -> list[str]:
        told = []
        for source in files.values():
            with tempfile.TemporaryDirectory() as folder:
                found = self._compiled(source, Path(folder) / "compiled.tflite")
            told += [f"the {self.accelerator} takes {found.coverage}", *replacements.advice(found.coverage)]
            if uneven := replacements.uneven_channels(source.read_bytes()):
                told.append(f"channels that are no multiple of {replacements.CHANNELS} leave multipliers idle: {', '.join(uneven[:6])}")
        return told

    def _compiled(self, source: Path, target: Path) -> ethos_u.Compiled:
        found = ethos_u.compile_file(
            source, target, accelerator=self.accelerator, system_config=self.system_config, memory_mode=self.memory_mode,
            config=Path(self.config) if self.config else None, optimise=self.optimise,
            arena_cache_bytes=self.arena_cache_kb * 1024 if self.arena_cache_kb else None)
        within(self.sram_kb, found.estimates["sram_bytes"], "sram_kb", "SRAM")
        within(self.flash_kb, found.estimates["flash_bytes"], "flash_kb", "flash")
        return found


class Microcontroller(FromVariants, name="microcontroller"):
    """Integer files as C++ arrays for TensorFlow Lite Micro, with the arena that they need.

    Args:
        sram_kb, flash_kb: what the device has; a model that needs more is refused.
    """

    extra, takes, estimates = "microcontroller", ("int8",), ("arena_bytes", "flash_bytes")
    sram_kb: float | None = Field(None, gt=0)
    flash_kb: float | None = Field(None, gt=0)

    def export_one(self, dock: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        content = dock.file(variant.name).read_bytes()
        path, arena = microcontroller.write(content, f"{dock.about.name}_{variant.name}", folder)
        within(self.sram_kb, arena, "sram_kb", "SRAM")
        within(self.flash_kb, len(content), "flash_kb", "flash")
        made = self.made(dock, variant, path, path.with_suffix(".h"), summary=f"C++ array, tensor arena of {arena / 1024:,.0f} kB",
                         estimates={"arena_bytes": arena, "flash_bytes": len(content)}, operators=tflite_file.operators(content))
        return made.model_copy(update={"bytes": variant.bytes, "zipped": variant.zipped})  # the source's bytes are no use to anyone

    def preflight(self, files: Mapping[str, Path]) -> list[str]:
        told = []
        for source in files.values():
            arena, flash = microcontroller.arena_bytes(source.read_bytes()), source.stat().st_size
            within(self.sram_kb, arena, "sram_kb", "SRAM")
            within(self.flash_kb, flash, "flash_kb", "flash")
            told.append(f"a tensor arena of {arena / 1024:,.0f} kB, a model of {flash / 1024:,.0f} kB")
        return told


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

    def export_one(self, dock: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        path = folder / f"{variant.name}.tflite"
        coverage = phone_npu.compile_file(dock.file(variant.name), path, str(self.entry_name), self.soc)
        return self.made(dock, variant, path, summary=f"compiled for the {self.soc}", coverage=coverage)


class Qualcomm(PhoneNPU, name="qualcomm", shorthand="soc"):
    """Files compiled for the NPUs of Qualcomm's Snapdragons."""


class MediaTek(PhoneNPU, name="mediatek", shorthand="soc"):
    """Files compiled for the NPUs of MediaTek's Dimensities."""


class GoogleTensor(PhoneNPU, name="google-tensor", shorthand="soc"):
    """Files compiled for the TPUs of Google's Tensor phones."""


class IntelNPU(PhoneNPU, name="intel-npu", shorthand="soc"):
    """Files compiled for the NPUs of Intel's Core Ultra."""

    def missing(self) -> str:
        """OpenVINO alone chooses the operators, so that the line says how many the NPU would take."""
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

    def export(self, dock: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        if dock.model.suffix == ".tflite":
            raise ValueError("Core ML is converted from a Keras model, and this one is a TFLite file")
        model, folder, made = keras_file.load(dock.model), dock.folder / self.title, []
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for weights in self.weights:
            path = folder / f"{snippets.class_name(dock.about.name).removesuffix('Classifier')}_{weights}.mlpackage"
            coreml.convert(model, weights, dock.about, path)
            made.append(record(self, dock, weights, path, summary=coreml.SUMMARY[weights], operators=coreml.structure(path)["operations"]))
        return made


def within(limit_kb: float | None, needed: float, setting: str, memory: str) -> None:
    """Raises ValueError where a model needs more bytes of a memory than the device has."""
    if limit_kb is not None and needed > limit_kb * 1024:
        raise ValueError(f"it needs {needed / 1024:,.1f} kB of {memory}, and {setting} says {limit_kb:,.1f}. Take a smaller model, smaller "
                         f"pictures, or a device with more")
