"""A detector and the model of embeddings that looks at what it finds, as one bundle with a driver in each language."""
from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.artifacts import Exported
from export.delivery import bundle, for_task, manifest, snippets
from export.tflite import signatures
from export.tflite.detection import Decoding
from export.tflite.metadata import Description

#: What is in the folder.
NAME, FILES, DRIVER = "pair.json", "models", "faces.py"
TEMPLATES = snippets.TEMPLATES / "pair"
#: What `models.embedding.EMBEDDING` calls its output.
EMBEDDING = "embedding"
#: Ways of writing boxes that the drivers read.
KINDS = ("points", "anchors")


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the two models.

    Args:
        folder: its bundle.
        path: the TFLite file to take.
        described: what the bundle's model.json says.
        entry: of the file in it.
    """

    folder: Path
    path: Path
    described: Mapping[str, Any]
    entry: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self._manifest.name

    @property
    def version(self) -> str:
        return self._manifest.version

    @property
    def _manifest(self) -> manifest.Manifest:
        return manifest.Manifest.model_validate_json((self.folder / manifest.NAME).read_bytes())


def part_of(folder: Path) -> Part:
    """Return the file of a bundle that phones' processors are advised to take, of the target litert.

    Raises:
        ValueError: the bundle has none.
        OSError: it is not whole.
    """
    described = json.loads((folder / bundle.MODELS).read_bytes())
    advised = json.loads((folder / manifest.NAME).read_bytes())["recommended"].get("phone_cpu")
    listed = [one for one in described["models"] if one["target"] == "litert" and one["path"].endswith(".tflite")]
    if not listed:
        raise ValueError(f"{folder} has no TFLite file of the target litert")
    chosen = next((one for one in listed if one["name"] == advised), listed[0])
    return Part(folder, folder / chosen["path"], described, chosen)


def write(folder: Path, name: str, detector: Part, embedder: Part, far: float, threshold: float) -> None:
    """Fill a folder with the two files, what is to be known of them, and a driver each in Python, Kotlin and Swift.

    Args:
        folder: to be made.
        name: of the pair, which the drivers' classes are called by.
        far: share of false acceptances.
        threshold: the cosine from which on two are one person, for that share.

    Raises:
        ValueError: one is no detector of one class whose network's outputs the drivers read, or the other gives no
            embeddings.
    """
    decoding = _decoding(detector)
    _check_embedder(embedder)
    (folder / FILES).mkdir(parents=True)
    listed = {}
    for role, part in (("detector", detector), ("embedder", embedder)):
        file = f"{FILES}/{part.name}_{role}.tflite"
        shutil.copy(part.path, folder / file)
        shutil.copy(part.folder / bundle.CARD, folder / f"MODEL_CARD_{role}.md")
        listed[role] = {"name": part.name, "file": file, "sha256": manifest.sha256(folder / file),
                        "inputs": part.entry["inputs"]}
    listed["detector"]["decoding"] = decoding.model_dump(mode="json")
    listed["embedder"] |= {"places": embedder.described.get(bundle.PLACES, {}), bundle.METRICS: embedder.entry.get(
        bundle.METRICS, {}), "far": far, "threshold": threshold}
    (folder / NAME).write_text(json.dumps({"name": name, **listed}, indent=1) + "\n")
    classes = {}
    for role, part, task in (("detector", detector, for_task.DETECTION), ("embedder", embedder, "face_recognition")):
        file = folder / listed[role]["file"]
        about = Description(name=f"{name}_{role}", task=task, version=part.version, labels=part.described["labels"],
                            decoding=decoding if role == "detector" else None)
        one = Exported(variant=file.stem, target="litert", path=listed[role]["file"], bytes=1, zipped=1)
        snippets.write(folder / bundle.CODE, about, [one], {}, folder)
        classes[role] = about.name
    _write_drivers(folder / bundle.CODE, name, classes, listed, decoding)
    (folder / bundle.CHECKSUMS).write_text(bundle.checksums(folder))


def _decoding(detector: Part) -> Decoding:
    """Return how the detector's boxes are read. Raises ValueError where the drivers cannot."""
    signature = signatures.main(detector.path.read_bytes())
    known = detector.described.get(bundle.DECODING)
    if known is None or for_task.form_of(signature) != "network":
        raise ValueError(f"{detector.path} is no detector that gives what its network does; give a run of "
                         "object_detection whose target litert has no post_processing")
    decoding = Decoding.model_validate(known)
    if decoding.kind not in KINDS or len(detector.described["labels"]) != 1:
        raise ValueError(f"{detector.path} tells boxes of {len(detector.described['labels'])} classes from "
                         f"{decoding.kind or 'something else'}; a pair's detector finds one class by "
                         f"{' or '.join(KINDS)}: blazeface, ssdlite, retinanet or yolov8")
    return decoding


def _check_embedder(embedder: Part) -> None:
    """Raise ValueError where a file gives no embeddings of images."""
    signature = signatures.main(embedder.path.read_bytes())
    if set(signature.outputs) != {EMBEDDING} or [len(one.shape) for one in signature.inputs.values()] != [4]:
        raise ValueError(f"{embedder.path} takes {', '.join(signature.inputs)} and gives "
                         f"{', '.join(signature.outputs)}, and no {EMBEDDING} of one image; give a run of "
                         "face_recognition")


def _write_drivers(folder: Path, name: str, classes: Mapping[str, str], listed: Mapping[str, Any],
                   decoding: Decoding) -> None:
    """Write the drivers of the pair, beside the classes of its models."""
    (folder / "python").mkdir()
    shutil.copy(TEMPLATES / DRIVER, folder / "python" / DRIVER)
    names, places = list(decoding.point_names), listed["embedder"]["places"]
    shared = [one for one in places if one in names]
    height, width = listed["embedder"]["inputs"][0]["shape"][1:3]
    values = {"class_name": snippets.class_name(name, "Faces"), "about": {"name": name, "version": ""},
              "detector_class": snippets.class_name(classes["detector"], "Detector"),
              "embedder_class": snippets.class_name(classes["embedder"], "Embedder"), "height": height, "width": width,
              "places": [{"point": names.index(one), "y": places[one][0], "x": places[one][1]} for one in shared]
              if len(shared) > 1 else [], "score": decoding.threshold, "threshold": listed["embedder"]["threshold"]}
    for template in sorted(TEMPLATES.glob("*.j2")):
        stem, ending = template.name.removesuffix(".j2").split(".")
        path = folder / snippets.LANGUAGES[ending] / f"{snippets.class_name(name, stem)}.{ending}"
        snippets.write_code(path, template, values)
