"""What a file is that is given as a model and is none that litepress reads, and what to do with it."""
from __future__ import annotations

from pathlib import Path

#: What litepress reads.
MODELS = (".keras", ".h5", ".hdf5", ".tflite", ".onnx", ".pt2", ".pb")
WANTED = "give a .keras, .h5, .tflite, .onnx or .pt2 file, a SavedModel folder, or a frozen graph (.pb)"
#: Where other tools' models are made into one that litepress reads.
PYTORCH = ("is a pickle of PyTorch, which runs code where it is read: export the model, torch.export.save(…, "
           "\"model.pt2\") or torch.onnx.export(…, \"model.onnx\"), and give that")
ARCHIVE = "is an archive: unpack it, and give what is inside"
CHECKPOINT = "is part of a checkpoint, weights without their model: load them into the model, and save it whole"
PICKLE = ("is a pickle, which runs code where it is read, and is no model of Keras or TensorFlow: save a Keras model "
          "with model.save; models of scikit-learn are not taken")
#: What files of an ending are.
ENDINGS = {
    ".pt": PYTORCH, ".pth": PYTORCH,
    ".safetensors": "holds weights without their model: load them into the model, and save it whole",
    ".mlmodel": "is a Core ML model: give the model that it was made of",
    ".mlpackage": "is a Core ML model: give the model that it was made of",
    ".pkl": PICKLE, ".pickle": PICKLE, ".joblib": PICKLE,
    ".json": "is a model's layers without their weights, or TensorFlow.js: save the model whole, or let "
             "tensorflowjs_converter make a Keras model of it",
    ".zip": ARCHIVE, ".gz": ARCHIVE, ".tgz": ARCHIVE, ".tar": ARCHIVE,
    ".ckpt": CHECKPOINT, ".index": CHECKPOINT, ".meta": CHECKPOINT, ".data": CHECKPOINT}
WEB_PAGE = "a web page, not the file itself: download it again"
#: How files begin that stand for others.
PLACEHOLDERS = {b"version https://git-lfs": "a pointer of Git LFS, not the file itself: fetch it with git lfs pull",
                b"<!doctype": WEB_PAGE, b"<html": WEB_PAGE}


def why_not(path: Path) -> str:
    """Return the line that says why a path is no model, and what to give instead."""
    if not path.exists():
        if path.with_name(f"{path.name}.index").exists():
            return f"{path} {CHECKPOINT}"
        return f"there is no model {path}"
    if path.is_dir():
        return _why_no_folder(path)
    if path.name == "saved_model.pb":
        return f"{path} is the graph of a SavedModel alone: give its folder, {path.parent}"
    if path.suffix != path.suffix.lower() and path.suffix.lower() in MODELS:
        return f"{path} ends in {path.suffix}: rename it to {path.stem}{path.suffix.lower()}"
    ending = path.suffix.lower().split("-")[0]  # of a checkpoint's parts, .data-00000-of-00001
    return f"{path} {ENDINGS[ending]}" if ending in ENDINGS else f"{path} is not a model: {WANTED}"


def check(path: Path) -> None:
    """Raise ValueError where a file is not a model's, but stands for it."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        begin = file.read(64).lstrip().lower()
    for words, what in PLACEHOLDERS.items():
        if begin.startswith(words):
            raise ValueError(f"{path} is {what}")


def _why_no_folder(path: Path) -> str:
    inner = sorted(one.parent for depth in ("*", "*/*") for one in path.glob(f"{depth}/saved_model.pb"))
    if inner:
        return f"{path} is not a model itself, and has {len(inner)} inside: give one, {inner[-1]}"
    files = sorted(one for one in path.iterdir() if one.suffix in MODELS)
    if files:
        return f"{path} is a folder, and not a SavedModel: give a file in it, {files[0]}"
    if path.suffix in ENDINGS:
        return f"{path} {ENDINGS[path.suffix]}"
    if (path / "checkpoint").exists():
        return f"{path} is a folder of checkpoints, weights without their model: load them into it, and save it whole"
    return f"{path} is not a model: {WANTED}"
