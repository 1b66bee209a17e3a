"""Targets that are compiled for hardware which this machine is not."""
from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from export.artifacts import Exported
from export.targets import ethos_u
from export.targets.ethos_u import Accelerator
from pipelines.compressing.made import Made
from pipelines.exporting.target import Dock, FromVariants


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
    accelerator: Accelerator = "ethos-u55-128"
    system_config: str | None = None
    memory_mode: str | None = None
    config: str | None = None
    optimise: Literal["Performance", "Size"] = "Performance"
    arena_cache_kb: int | None = Field(None, ge=1)
    sram_kb: float | None = Field(None, gt=0)
    flash_kb: float | None = Field(None, gt=0)

    def export_one(self, dock: Dock, variant: Made, folder: Path) -> Exported:
        path = folder / f"{variant.name}.tflite"
        found = ethos_u.compile_file(
            dock.file(variant.name), path, accelerator=self.accelerator, system_config=self.system_config, memory_mode=self.memory_mode,
            config=Path(self.config) if self.config else None, optimise=self.optimise,
            arena_cache_bytes=self.arena_cache_kb * 1024 if self.arena_cache_kb else None)
        within(self.sram_kb, found.estimates["sram_bytes"], "sram_kb", "SRAM")
        within(self.flash_kb, found.estimates["flash_bytes"], "flash_kb", "flash")
        return self.made(dock, variant, path, summary=f"compiled for the {self.accelerator}", coverage=found.coverage,
                         estimates=found.estimates, notes=found.notes)


def within(limit_kb: float | None, needed: float, setting: str, memory: str) -> None:
    """Raises ValueError where a model needs more bytes of a memory than the device has."""
    if limit_kb is not None and needed > limit_kb * 1024:
        raise ValueError(f"it needs {needed / 1024:,.1f} kB of {memory}, and {setting} says {limit_kb:,.1f}. Take a smaller model, smaller "
                         f"pictures, or a device with more")
