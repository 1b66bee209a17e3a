"""Targets that run on machines like this one: TFLite files, TF Serving, ONNX Runtime, OpenVINO."""
from __future__ import annotations

import collections
import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from export.artifacts import Exported
from export.delivery import drawing, for_task
from export.keras_models import file as keras_file
from export.predictors import open_predictor
from export.predictors.two_files import FRONT_END, NETWORK
from export.targets import onnx, openvino, replacements, saved_model, web, web_pictures
from export.tflite import detection, gpu_coverage, metadata, phone, signatures
from export.tflite import file as tflite_file
from pipelines.targets.target import ExportContext, FromVariants, Target, fresh, sizes
from pipelines.training.imported_model import SERVED
from pipelines.variants.record import VariantRecord
from pipelines.variants.split_front_end import front_file
from pipelines.variants.variant import Variant

#: TF Serving serves the highest number of a model's version folders; a fresh model begins with the first.
FIRST_VERSION = "1"
#: What is said of a file for phones whose model takes grey images.
AVERAGES = "takes RGB, averages it"
#: What a file of a detector gives, by `post_processing`, and what is said of it.
FORMS: dict[bool | str, detection.Form] = {True: "found", "decoding": "decoded", "faces": "faces"}
NOTES: dict[detection.Form, str] = {
    "found": "gives boxes, decoded in float",
    "decoded": "gives all boxes, decoded in float; measured as MediaPipe suppresses them",
    "faces": "gives all faces, decoded in float; measured as MediaPipe's FaceDetector joins them"}


class LiteRT(Target, name="litert"):
    """TFLite files for phones and small devices, one per variant, with metadata inside.

    Args:
        rgb: files of models of grey images take RGB, which cameras give and MediaPipe wants, and average it; the table
            says so. `litepress press` leaves the input as it is.
        post_processing: files of detectors give boxes, and not what the network gives: they decode them, and suppress
            those that a better one of their class overlaps, by the operator that MediaPipe's ObjectDetector knows. With
            `decoding` they decode boxes alone: MediaPipe's ObjectDetector suppresses them, whatever their classes. With
            `faces` they give what MediaPipe's FaceDetector reads: of one class, with six key points.
    """

    rgb: bool = True
    post_processing: bool | Literal["decoding", "faces"] = False

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        return [variant.title for variant in variants]

    def export(self, context: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        folder = fresh(context.folder / self.title)
        return [self._export_one(context, variant, folder) for variant in context.variants.values()]

    def _export_one(self, context: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        if "front_end" in variant.details:
            return _two_files(context, variant, folder, self.title)
        path = folder / f"{variant.name}.tflite"
        if "streaming" in variant.details:  # what it takes is not what the task's models take
            path.write_bytes(context.file(variant.name).read_bytes())
            return Exported(
                variant=variant.name, target=self.title, path=context.relative(path), summary=variant.summary,
                encoding=variant.encoding, integer=variant.integer, **sizes(path),
                operators=tflite_file.operators(path.read_bytes()), notes=_stays_float(variant))
        content = phone_file(context, variant, self.rgb, self._behind(context))
        path.write_bytes(content)
        averages = self.rgb and phone.takes_grey_image(context.file(variant.name).read_bytes(), context.about)
        coverage = None
        if variant.encoding in ("float32", "float16"):
            coverage = gpu_coverage.coverage(context.file(variant.name).read_bytes())
        return Exported(
            variant=variant.name, target=self.title, path=context.relative(path), summary=variant.summary,
            encoding=variant.encoding, integer=variant.integer and not self.post_processing, **sizes(path),
            operators=tflite_file.operators(content), runs=self.runs, coverage=coverage,
            notes=[*_stays_float(variant), *([AVERAGES] if averages else []),
                   *([NOTES[FORMS[self.post_processing]]] if self.post_processing else [])])

    def _behind(self, context: ExportContext) -> detection.PostProcessing | None:
        """Return what stands behind the network. Raises ValueError where the task has nothing that could."""
        if not self.post_processing:
            return None
        behind = context.data.task.post_processing(context.data.index)
        if behind is None:
            raise ValueError(f"post_processing: {context.data.task.entry_name} has none; leave it out")
        return dataclasses.replace(behind, form=FORMS[self.post_processing])

    def preflight(self, files: Mapping[str, Path]) -> list[str]:
        contents = [path.read_bytes() for path in files.values()]
        exact = next((content for content in contents if tflite_file.float_tensors(content)), None)
        coverage = gpu_coverage.coverage(exact) if exact is not None else None
        if coverage is None or not coverage.left:
            return []
        return [f"a phone's GPU takes {coverage}", *replacements.advice(coverage)]


def _two_files(context: ExportContext, variant: VariantRecord, folder: Path, target: str) -> Exported:
    """Copy the front end and the network of a variant into a folder of their own."""
    both = fresh(folder / variant.name)
    network = context.file(variant.name)
    contents = {FRONT_END: network.with_name(front_file(variant.name)).read_bytes(), NETWORK: network.read_bytes()}
    for name, content in contents.items():
        (both / f"{name}.tflite").write_bytes(content)
    operators = sum((collections.Counter(tflite_file.operators(one)) for one in contents.values()),
                    collections.Counter())
    return Exported(
        variant=variant.name, target=target, path=context.relative(both), summary=variant.summary,
        encoding=variant.encoding, **sizes(both), operators=dict(operators), notes=_stays_float(variant))


def _stays_float(variant: VariantRecord) -> list[str]:
    """Return what is said of a variant some of whose operators have no integer form."""
    names = variant.details.get("stays_float", [])
    return [f"float: {', '.join(names)}"] if names else []


def phone_file(context: ExportContext, variant: VariantRecord, rgb: bool = False,
               behind: detection.PostProcessing | None = None) -> bytes:
    """Return a variant's file as phones open it, its scores calibrated on the validation split where it tells classes
    apart.

    Args:
        behind: what stands behind the network, if anything does.
    """
    content = context.file(variant.name).read_bytes()
    about = context.about.model_copy(update={"calibration": score_calibration(context, variant)})
    if behind is not None:
        content = detection.with_post_processing(content, behind)
        assert about.signature is not None
        found = about.signature.model_copy(update={"outputs": tuple(behind.outputs)})
        about = about.model_copy(update={"signature": found})
    return phone.ready(content, about, rgb)


def score_calibration(context: ExportContext, variant: VariantRecord) -> metadata.Calibration | None:
    """Return how a file's logits become probabilities; None where its only output is not one logit per class of an
    example."""
    task, index = context.data.task, context.data.index
    target = index.class_target
    outputs = task.outputs(index)
    if target is None or len(outputs) != 1:
        return None
    output = outputs[0]
    if output.role != "logits" or output.shape != (len(index.names(target)),):
        return None
    inputs, targets = context.validation()
    logits = open_predictor(context.file(variant.name)).predict(inputs)[output.name]
    return metadata.fit(logits, targets[target])


class SavedModel(Target, name="saved_model"):
    """A TF SavedModel for TF Serving."""

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        return ["float32"]

    def export(self, context: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        served = context.model.with_name(SERVED)
        is_graph = context.model.suffix == ".tflite"
        if is_graph and not served.is_dir():
            raise ValueError("a SavedModel is written of a Keras model, or of a graph of TensorFlow or ONNX that is "
                             "held against itself (task equivalence), and this one is a TFLite file")
        folder = fresh(context.folder / self.title) / FIRST_VERSION
        if is_graph:
            shutil.copytree(served, folder)
        else:
            model = keras_file.load(context.model)
            task, data = context.data.task, context.data
            template = task.files(data).get(saved_model.CHAT_TEMPLATE)
            saved_model.export(model, folder, task.functions(model, data, "server"), template)
        return [Exported(variant="float32", target=self.title, path=context.relative(folder), summary="for TF Serving",
                         **sizes(folder), runs=self.runs)]


class ONNX(FromVariants, name="onnx", shorthand="variants"):
    """ONNX files for ONNX Runtime, integers as QDQ pairs."""

    extra = "onnx"
    takes = ("float32", "int8", "float16", "dynamic", "int8_weights")

    def export_one(self, context: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        path = folder / f"{variant.name}.onnx"
        path.write_bytes(onnx.convert(context.file(variant.name).read_bytes(), context.about.labels))
        return Exported(variant=variant.name, target=self.title, path=context.relative(path), summary=variant.summary,
                        encoding=variant.encoding, integer=variant.integer, **sizes(path), runs=self.runs)


class OpenVINO(FromVariants, name="openvino", shorthand="variants"):
    """OpenVINO models for Intel's CPUs, GPUs and NPUs."""

    extra = "openvino"
    takes = ("float32", "int8", "float16", "dynamic", "int8_weights")

    def export_one(self, context: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        path = folder / f"{variant.name}.xml"
        openvino.convert(context.file(variant.name).read_bytes(), context.about.labels, path)
        notes = []
        if variant.integer:
            notes.append("on x86 processors without VNNI set LP_TRANSFORMS_MODE to NO: OpenVINO's integer kernels "
                         "saturate there")
        return Exported(variant=variant.name, target=self.title, path=context.relative(path), summary=variant.summary,
                        encoding=variant.encoding, integer=variant.integer, **sizes(path, path.with_suffix(".bin")),
                        runs=self.runs, notes=notes)


class Web(FromVariants, name="web", shorthand="variants"):
    """A static page that runs the model in the browser, on a picked image or the camera, and shows classes, masks or
    boxes; or makes pictures of a seed, and of a text."""

    runs, takes = False, ("float32", "int8", "float16", "dynamic", "int8_weights")

    @classmethod
    def ready(cls) -> str:
        return web.missing()

    def versions(self) -> dict[str, str]:
        return {"@litertjs/core": web.VERSION}

    def preflight(self, files: Mapping[str, Path]) -> list[str]:
        for name, path in files.items():
            signature = signatures.main(path.read_bytes())
            if web_pictures.makes_pictures(signature):
                web_pictures.asked(name, path.read_bytes())
            elif for_task.form_of(signature) != "network":  # its boxes are decoded in the file
                web.kind_of(name, signature, metadata.Description(name=name, labels=["known"]))
        return []

    def export(self, context: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        folder = fresh(context.folder / self.title)
        variants = [context.variants[name] for name in chosen if name in context.variants]
        behind = context.data.task.post_processing(context.data.index)
        if behind is not None:
            behind = dataclasses.replace(behind, form="decoded")
        files = {variant.name: phone_file(context, variant, behind=behind) for variant in variants}
        beside = context.data.task.files(context.data)
        if drawing.SAMPLER in beside:
            page = web_pictures.write(folder, context.about, beside, files)
        else:
            page = web.write(folder, context.about, files)
        exported = []
        for variant in variants:
            path = folder / f"{variant.name}.tflite"
            exported.append(Exported(
                variant=variant.name, target=self.title, path=context.relative(path), encoding=variant.encoding,
                integer=variant.integer, **sizes(path, page), runs=self.runs,
                summary="a page for the browser, the runtime beside it"))
        return exported
