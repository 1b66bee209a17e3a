"""`litepress enroll` and `litepress identify`: who is on an image, by a model of embeddings and a gallery of people."""
from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy
from pydantic import BaseModel

from export.delivery import bundle, manifest, pair
from export.signature import Signature
from models.embedding import EMBEDDING
from pipelines.engine import runs
from pipelines.errors import UserError
from pipelines.features import image_file
from pipelines.features.image import Image
from pipelines.reporting import results
from pipelines.tasks.face_recognition import verification
from pipelines.tasks.face_recognition.alignment import Places
from pipelines.tasks.face_recognition.measure import THRESHOLD, unit
from pipelines.tools import face_crops, predict

with epy.lazy_imports():
    import numpy as np

#: Folders above a file that are searched for its bundle.
LEVELS = 3
UNKNOWN = "unknown"


class Person(BaseModel):
    """One of a gallery: the mean direction of the embeddings of so many pictures, of length 1."""

    name: str
    pictures: int
    embedding: list[float]


class Gallery(BaseModel):
    """Who is known to a model.

    Args:
        model: SHA-256 of its file, since embeddings of another model do not compare.
        far: share of the pairs of two people that may be taken for one.
        threshold: the cosine from which on a picture is taken for a person, by that share of the model's test pairs,
            and of test pictures with identities that were enrolled as these people are.
        people: in the order of their names.
        detector: SHA-256 of the file that found the faces in their pictures; empty where none did, and None where that
            is not known.
        places: where their key points were brought to, see `Embedder`.
    """

    model: str
    far: float
    threshold: float
    people: list[Person]
    detector: str | None = None
    places: Places = {}


@dataclasses.dataclass(frozen=True)
class Embedder:
    """A file that gives embeddings of images.

    Args:
        path: of the file.
        feature: how images are read.
        thresholds: share of false acceptances to the cosine from which on a pair is taken for one.
        places: where key points of faces lie in its images, see `face_recognition.alignment`.
    """

    path: Path
    feature: Image
    thresholds: Mapping[float, float]
    places: Places = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> str:
        return manifest.sha256(self.path)


def enroll(model: Path, folder: Path, far: float, gallery: Path, detector: Path | None = None) -> list[str]:
    """Write a gallery of the people in a folder: one folder of images for each, or an image that is called like them.

    Args:
        model: a run's folder, a bundle's, or a TFLite file in one of them.
        far: share of false acceptances that the threshold is for.
        gallery: the file to write.
        detector: a model that finds the faces, where images show more than one face; see `predict.find_model`.

    Returns:
        A line for each person, and one about the threshold.

    Raises:
        UserError: there is nobody, an image cannot be read, or the model's test pairs are too few for the threshold.
    """
    embedder, finder = find_embedder(model), _detector(model, detector)
    threshold = threshold_for(embedder, far, "enroll")
    people = people_in(folder)
    files = [file for files in people.values() for file in files]
    vectors = embeddings(embedder, files, finder)
    owners = np.repeat(np.arange(len(people)), [len(files) for files in people.values()])
    templates = [verification.template(vectors[owners == number]).tolist() for number in range(len(people))]
    enrolled = [Person(name=name, pictures=len(files), embedding=embedding)
                for (name, files), embedding in zip(people.items(), templates, strict=True)]
    known = Gallery(model=embedder.digest, far=far, threshold=threshold, people=enrolled,
                    detector="" if finder is None else finder.digest, places={} if finder is None else embedder.places)
    runs.write_whole(gallery, known.model_dump_json(indent=1) + "\n")
    width = max(map(len, people))
    cut = [] if finder is None or finder.turns(embedder.places) else [
        "faces are cut out and not turned upright: the detector's key points "
        f"({', '.join(finder.points) or 'none'}) and the places of the model's ({', '.join(embedder.places) or 'none'})"
        " have less than two names in common"]
    return [*(f"{person.name:<{width}}  {person.pictures} picture{'' if person.pictures == 1 else 's'}"
              for person in enrolled), *cut,
            f"{gallery}: {len(enrolled)} people; from a cosine of {threshold:.3f} on, at most {far:g} of the pairs of "
            f"two people are taken for one, and so at most {min(1.0, far * len(enrolled)):g} of the pictures of "
            "strangers for one of these people"]


def identify(model: Path, files: Sequence[Path], gallery: Path, detector: Path | None = None) -> list[str]:
    """Return a line for each image: who is on it, or that nobody known is.

    Raises:
        UserError: the gallery cannot be read, or is of another model; an image cannot be read.
    """
    embedder, known = find_embedder(model), read_gallery(gallery)
    if known.model != embedder.digest:
        raise UserError(f"identify: {gallery} was made with another model than {embedder.path}, and embeddings of two "
                        "models do not compare; enroll again")
    finder = _detector(model, detector)
    if known.detector is not None and known.detector != ("" if finder is None else finder.digest):
        raise UserError(f"identify: the faces of {gallery} were {_cut_out_by(known.detector)}: give the same here, or "
                        "enroll again")
    if finder is not None and known.detector and known.places != embedder.places:
        raise UserError(f"identify: the faces of {gallery} were brought to other places than {embedder.path} has now: "
                        "enroll again")
    images = [one for file in files for one in (image_file.images(file) if file.is_dir() else [file])]
    if not images:
        raise UserError(f"{files[0]}: has no images in it ({image_file.READ})")
    cosines = embeddings(embedder, images, finder) @ np.array([person.embedding for person in known.people]).T
    width = max(len(str(image)) for image in images)
    return [f"{image!s:<{width}}  {_said(row, known)}" for image, row in zip(images, cosines, strict=True)]


def find_embedder(model: Path) -> Embedder:
    """Return the file of embeddings that `model` stands for. Raises UserError where there is none."""
    if not model.exists():
        raise UserError(f"{model}: there is no such file or folder. Give a run's folder, or a bundle's")
    if (model / pair.NAME).is_file():
        return _of_pair(model)
    folders = [model, *list(model.absolute().parents)[:LEVELS]] if model.is_file() else [model]
    own = next((folder for folder in folders if (folder / bundle.MODELS).exists()), None)
    return _of_bundle(own, model) if own is not None else _of_run(model)


def threshold_for(embedder: Embedder, far: float, command: str) -> float:
    """Return the cosine from which on at most a share `far` of the model's test pairs of two was taken for one. Raises
    UserError where these are too few to tell.

    Args:
        command: that asks, for the message.
    """
    fitting = [level for level in embedder.thresholds if level <= far]
    if not fitting:
        smallest = min(embedder.thresholds, default=None)
        told = f"the smallest share that they tell is {smallest:g}" if smallest is not None else "there is no threshold"
        raise UserError(f"{command}: --far {far:g}: the test pairs of {embedder.path} are too few; {told}. Test on "
                        "more pictures, or allow more")
    return embedder.thresholds[max(fitting)]


def people_in(folder: Path) -> dict[str, list[Path]]:
    """Return the images of each person in a folder, by name. Raises UserError where there is nobody."""
    if not folder.is_dir():
        raise UserError(f"enroll: {folder} is not a folder; give one with a folder of images for each person")
    people = {image.stem: [image] for image in image_file.images(folder)}
    for own in image_file.folders(folder):
        images = image_file.images(own, below=True)
        if not images:
            raise UserError(f"enroll: {own} has no images in it ({image_file.READ}); add one, or take the folder away")
        people.setdefault(own.name, []).extend(images)
    if not people:
        raise UserError(f"enroll: {folder} has nobody in it; give a folder of images for each person")
    return dict(sorted(people.items()))


def embeddings(embedder: Embedder, files: Sequence[Path], detector: face_crops.Detector | None) -> np.ndarray:
    """Return the embeddings of images, of length 1, (files, size). Raises UserError."""
    predictor = face_crops.opened(embedder.path)
    signature = predict.main_signature(predictor)
    _refuse_others(embedder.path, signature)
    tensor = signature.inputs[0]
    if detector is None:
        images = [embedder.feature.from_file(file, tensor) for file in files]
    else:
        height, width, channels = tensor.shape
        # what a file's channels are, as whoever runs the file alone gives them: it may average three itself
        feature = embedder.feature.model_copy(update={"channels": channels or embedder.feature.channels})
        images = [feature.fitted(face).numpy()
                  for face in face_crops.faces(detector, files, embedder.places, (height or 0, width or 0))]
    outputs = predictor.predict({tensor.name: np.stack(images)})
    return unit(outputs[EMBEDDING])


def read_gallery(path: Path) -> Gallery:
    """Return the gallery in a file. Raises UserError where there is none."""
    try:
        return Gallery.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: there is no gallery ({error.strerror}); litepress enroll writes one") from None
    except ValueError:
        raise UserError(f"{path}: is not a gallery; litepress enroll writes one") from None


def _detector(model: Path, detector: Path | None) -> face_crops.Detector | None:
    """Return what finds the faces: the detector of a pair, or the one that is given, if any. Raises UserError."""
    if (model / pair.NAME).is_file():
        if detector is not None:
            raise UserError(f"--detector {detector}: {model} has a detector of its own; leave it out")
        return face_crops.detector_of_pair(model, pair_of(model))
    return None if detector is None else face_crops.detector_of(detector)


def _of_pair(folder: Path) -> Embedder:
    embedder = pair_of(folder).embedder
    return Embedder(folder / embedder.file, _feature(embedder.inputs[0]), _thresholds(embedder.metrics),
                    embedder.places)


def pair_of(folder: Path) -> pair.Pair:
    """Return what a pair says of itself. Raises UserError where it is not as litepress writes it."""
    try:
        return pair.Pair.model_validate_json((folder / pair.NAME).read_bytes())
    except OSError as error:
        raise UserError(f"{folder / pair.NAME}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise UserError(f"{folder / pair.NAME}: is not what this litepress writes into a pair; write it again with "
                        "litepress pair") from None


def _of_bundle(folder: Path, model: Path) -> Embedder:
    described = _read(folder / bundle.MODELS)
    listed = {one["path"]: one for one in described["models"] if one["target"] == "litert"}
    if model.is_file():
        chosen = model.absolute().relative_to(folder.absolute()).as_posix()
    else:
        advice = _read(folder / manifest.NAME)["recommended"].get("phone_cpu")
        chosen = next((path for path, one in listed.items() if one["name"] == advice), next(iter(listed), ""))
    if chosen not in listed:
        raise UserError(f"{model}: is not a TFLite file that {folder / bundle.MODELS} lists")
    image = next((one for one in listed[chosen]["inputs"] if len(one["shape"]) == 4), None)
    if image is None:
        raise UserError(f"{model}: takes no image, and embeddings of images are compared")
    return Embedder(folder / chosen, _feature(image), _thresholds(listed[chosen].get(bundle.METRICS, {})),
                    described.get(bundle.PLACES, {}))


def _feature(image: Mapping[str, Any]) -> Image:
    """Return how images are read for an input as a bundle describes it."""
    size = image["shape"][1:]
    return Image(size=tuple(size[:2]), channels=size[2],
                 fit="pad" if image.get(bundle.FIT) == bundle.PAD else "resize")


def _read(path: Path) -> dict[str, Any]:
    """Return what a file of a bundle says. Raises UserError where it is not there, or says something else."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: a bundle has this file, and it cannot be read ({error.strerror}); give the whole "
                        "folder, as litepress wrote it") from None
    except ValueError:
        content = None
    kind = {bundle.MODELS: "models", manifest.NAME: "recommended"}[path.name]
    if not isinstance(content, dict) or kind not in content:
        raise UserError(f"{path}: is not what litepress writes into a bundle; give the folder as it was written")
    return content


def _of_run(model: Path) -> Embedder:
    asked = predict.find_model(model)
    feature = next((one for one in asked.features.values() if isinstance(one, Image)), None)
    if asked.is_guessed or feature is None:
        raise UserError(f"{model}: is neither in a run's folder nor in a bundle; the threshold is told by these")
    run = next(folder for folder in (model, *model.absolute().parents) if (folder / runs.RECORD).exists())
    measured = {Path(one.path).resolve(): one.metrics for one in results.collect(runs.load(run)).artifacts}
    return Embedder(asked.path, feature, _thresholds(measured.get(asked.path.resolve(), {})),
                    dict(asked.task.places))


def _thresholds(metrics: Mapping[str, Any]) -> dict[float, float]:
    """Return the thresholds among a file's metrics, by the share of false acceptances."""
    prefix = f"{THRESHOLD}_"
    return {float(name.removeprefix(prefix)): value for name, value in metrics.items() if name.startswith(prefix)}


def _refuse_others(path: Path, signature: Signature) -> None:
    names = [tensor.name for tensor in signature.outputs]
    if EMBEDDING not in names or len(signature.inputs) != 1:
        raise UserError(f"{path}: gives {', '.join(names)}, and no {EMBEDDING} of one image; give a model of "
                        "task: face_recognition")


def _cut_out_by(detector: str) -> str:
    """Return how the faces of a gallery were found, by the digest of its detector."""
    return f"found by the detector whose file has the SHA-256 {detector[:12]}…" if detector else (
        "taken from whole pictures, without --detector")


def _said(cosines: np.ndarray, known: Gallery) -> str:
    best = int(cosines.argmax())
    name, cosine = known.people[best].name, float(cosines[best])
    if cosine >= known.threshold:
        return f"{name}  {cosine:.3f}"
    return f"{UNKNOWN}  nearest is {name} with {cosine:.3f}, below {known.threshold:.3f}"
