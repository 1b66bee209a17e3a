"""A detector and the model of embeddings that looks at what it finds, as one bundle with a driver in each language."""
from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

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


class PairFile(BaseModel):
    """What pair.json says of a file.

    Args:
        file: relative to the pair's folder.
        inputs: as model.json has them.
    """

    name: str
    file: str
    sha256: str
    inputs: list[dict[str, Any]]


class DetectorFile(PairFile):
    """What pair.json says of the detector.

    Args:
        decoding: how its boxes are read.
    """

    decoding: Decoding


class EmbedderFile(PairFile):
    """What pair.json says of the model of embeddings.

    Args:
        places: where key points lie in its images, by name: y and x as shares.
        metrics: that were measured of it.
        far, threshold: a share of false acceptances, and the cosine from which on two are one person for it.
    """

    places: dict[str, tuple[float, float]]
    metrics: dict[str, float]
    far: float
    threshold: float


class Pair(BaseModel):
    """What pair.json says."""

    name: str
    detector: DetectorFile
    embedder: EmbedderFile


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
    decoding = check(detector, embedder)
    (folder / FILES).mkdir(parents=True)
    described = Pair(
        name=name, detector=DetectorFile(**_copied(detector, "detector", folder), decoding=decoding),
        embedder=EmbedderFile(**_copied(embedder, "embedder", folder), places=embedder.described.get(bundle.PLACES, {}),
                              metrics=embedder.entry.get(bundle.METRICS, {}), far=far, threshold=threshold))
    (folder / NAME).write_text(described.model_dump_json(indent=1) + "\n")
    for part, file, task in ((detector, described.detector, for_task.DETECTION),
                             (embedder, described.embedder, "face_recognition")):
        about = Description(name=name, task=task, version=part.version, labels=part.described["labels"],
                            decoding=decoding if part is detector else None)
        one = Exported(variant=Path(file.file).stem, target="litert", path=file.file, bytes=1, zipped=1)
        snippets.write(folder / bundle.CODE, about, [one], {}, folder)
    _write_drivers(folder / bundle.CODE, described)
    (folder / bundle.CHECKSUMS).write_text(bundle.checksums(folder))


def _copied(part: Part, role: str, folder: Path) -> dict[str, Any]:
    """Copy the file of a part, and its model card, into the pair's folder; return what pair.json says of it."""
    file = f"{FILES}/{part.name}_{role}.tflite"
    shutil.copy(part.path, folder / file)
    shutil.copy(part.folder / bundle.CARD, folder / f"MODEL_CARD_{role}.md")
    return {"name": part.name, "file": file, "sha256": manifest.sha256(folder / file), "inputs": part.entry["inputs"]}


def check(detector: Part, embedder: Part) -> Decoding:
    """Return how the detector's boxes are read.

    Raises:
        ValueError: see `write`.
    """
    decoding = _decoding(detector)
    _check_embedder(embedder)
    shared = set(decoding.point_names) & set(embedder.described.get(bundle.PLACES, {}))
    if len(shared) < 2 and embedder.entry["inputs"][0].get(bundle.FIT) == bundle.PAD:
        raise ValueError(f"{embedder.path} has learnt on padded images, and the drivers resize what they cut out; "
                         "train it with image.fit: resize, or with aligned and a detector of key points")
    return decoding


def _decoding(detector: Part) -> Decoding:
    """Return how the detector's boxes are read. Raises ValueError where the drivers cannot."""
    signature = signatures.main(detector.path.read_bytes())
    known = detector.described.get(bundle.DECODING)
    if known is None or for_task.form_of(signature) != "network":
        raise ValueError(f"{detector.path} is no detector that gives what its network does; give a run of "
                         "object_detection whose target litert has no post_processing")
    try:
        decoding = Decoding.model_validate(known)
    except ValueError:
        raise ValueError(f"{detector.folder / bundle.MODELS} is of another version of litepress; package its run "
                         "again") from None
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


def _write_drivers(folder: Path, described: Pair) -> None:
    """Write the drivers of the pair, beside the classes of its models."""
    (folder / "python").mkdir()
    shutil.copy(TEMPLATES / DRIVER, folder / "python" / DRIVER)
    name, decoding, places = described.name, described.detector.decoding, described.embedder.places
    names = list(decoding.point_names)
    shared = [one for one in places if one in names]
    height, width = described.embedder.inputs[0]["shape"][1:3]
    values = {"class_name": snippets.class_name(name, "Faces"), "about": {"name": name, "version": ""},
              "detector_class": snippets.class_name(name, "Detector"),
              "embedder_class": snippets.class_name(name, "Embedder"), "height": height, "width": width,
              "places": [{"point": names.index(one), "y": places[one][0], "x": places[one][1]} for one in shared]
              if len(shared) > 1 else [], "score": decoding.threshold, "threshold": described.embedder.threshold}
    for template in sorted(TEMPLATES.glob("*.j2")):
        stem, ending = template.name.removesuffix(".j2").split(".")
        path = folder / snippets.LANGUAGES[ending] / f"{snippets.class_name(name, stem)}.{ending}"
        snippets.write_code(path, template, values)
