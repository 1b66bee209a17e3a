"""Targets that run on machines like this one: TFLite files, TF Serving, ONNX Runtime, OpenVINO."""
from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from export.artifacts import Exported
from export.keras_models import file as keras_file
from export.predictors import IMAGE, LOGITS, LiteRTPredictor
from export.targets import onnx, openvino, replacements, saved_model, web
from export.tflite import file as tflite_file
from export.tflite import gpu_coverage, metadata, phone
from pipelines.ingest import pictures
from pipelines.targets.target import ExportContext, FromVariants, Target, record
from pipelines.variants.record import VariantRecord
from pipelines.variants.variant import Variant

#: TF Serving serves the highest number of a model's version folders; a fresh model begins with the first.
FIRST_VERSION = "1"


class LiteRT(Target, name="litert"):
    """TFLite files for phones and small devices, one per variant, with metadata inside.

    Args:
        rgb: files of models of grey pictures take RGB, which cameras give and MediaPipe wants, and average it.
    """

    rgb: bool = True

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        return [variant.title for variant in variants]

    def artifacts(self, variants: Sequence[Variant]) -> list[str]:
        return self.chosen(variants)

    def export(self, dock: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        folder, made = dock.folder / "litert", []
        folder.mkdir(exist_ok=True)
        for variant in dock.variants.values():
            content, file = dock.file(variant.name).read_bytes(), folder / f"{variant.name}.tflite"
            file.write_bytes(phone_file(dock, variant, self.rgb))
            made.append(record(self, dock, variant.name, file, summary=variant.summary, integer=variant.integer,
                               encoding=variant.encoding, operators=tflite_file.operators(file.read_bytes()),
                               coverage=gpu_coverage.coverage(content) if variant.encoding in ("float32", "float16") else None))
        return made

    def preflight(self, files: Mapping[str, Path]) -> list[str]:
        exact = next((content for content in map(Path.read_bytes, files.values()) if tflite_file.float_tensors(content)), None)
        found = gpu_coverage.coverage(exact) if exact is not None else None
        return [f"a phone's GPU takes {found}", *replacements.advice(found)] if found is not None and found.left else []


def phone_file(dock: ExportContext, variant: VariantRecord, rgb: bool = False) -> bytes:
    """A variant's file as phones open it, its scores calibrated on the validation split."""
    images, labels = dock.validation()
    calibration = metadata.fit(LiteRTPredictor(dock.file(variant.name)).predict({IMAGE: images})[LOGITS], labels)
    return phone.ready(dock.file(variant.name).read_bytes(), dock.about.model_copy(update={"calibration": calibration}), rgb)


class SavedModel(Target, name="saved_model"):
    """A TF SavedModel for TF Serving."""

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        return ["float32"]

    def export(self, dock: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        if dock.model.suffix == ".tflite":
            raise ValueError("a SavedModel is written of a Keras model, and this one is a TFLite file")
        folder = dock.folder / "saved_model" / FIRST_VERSION
        shutil.rmtree(folder.parent, ignore_errors=True)
        saved_model.export(keras_file.load(dock.model), folder, labels=dock.about.labels,
                           decode=lambda encoded: pictures.decode(encoded, dock.data.image))
        return [record(self, dock, "float32", folder, summary="for TF Serving")]


class ONNX(FromVariants, name="onnx", shorthand="variants"):
    """ONNX files for ONNX Runtime, integers as QDQ pairs."""

    extra = "onnx"
    takes = ("float32", "int8", "float16", "dynamic", "int8_weights")

    def export_one(self, dock: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        path = folder / f"{variant.name}.onnx"
        path.write_bytes(onnx.convert(dock.file(variant.name).read_bytes(), dock.about.labels))
        return self.made(dock, variant, path, summary=variant.summary)


class OpenVINO(FromVariants, name="openvino", shorthand="variants"):
    """OpenVINO models for Intel's CPUs, GPUs and NPUs."""

    extra = "openvino"
    takes = ("float32", "int8", "float16", "dynamic", "int8_weights")

    def export_one(self, dock: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        path = folder / f"{variant.name}.xml"
        openvino.convert(dock.file(variant.name).read_bytes(), dock.about.labels, path)
        notes = ["on x86 processors without VNNI set LP_TRANSFORMS_MODE to NO: OpenVINO's integer kernels saturate there"]
        return self.made(dock, variant, path, path.with_suffix(".bin"), summary=variant.summary, notes=notes if variant.integer else [])


class Web(FromVariants, name="web", shorthand="variants"):
    """A static page that runs the model in the browser, on a picked picture or the camera."""

    runs, takes = False, ("float32", "int8", "float16", "dynamic", "int8_weights")

    @classmethod
    def ready(cls) -> str:
        return web.missing()

    def versions(self) -> dict[str, str]:
        return {"@litertjs/core": web.VERSION}

    def export(self, dock: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        folder = dock.folder / self.title
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        files = {name: phone_file(dock, dock.variants[name]) for name in chosen if name in dock.variants}
        page = web.write(folder, dock.about, files)
        return [record(self, dock, name, folder / f"{name}.tflite", page, summary="a page for the browser, the runtime beside it",
                       integer=dock.variants[name].integer, encoding=dock.variants[name].encoding) for name in files]
