"""Pictures as files, each with a note of what made it."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epy

from pipelines.engine.store import whole
from pipelines.tasks.image_generation.measure import tiled

with epy.lazy_imports():
    import numpy as np
    import PIL.Image
    import PIL.PngImagePlugin

#: The file with all pictures, and what a note in each file is called.
GRID, NOTE = "grid.png", "litepress"


def write(folder: Path, pictures: np.ndarray, about: Mapping[str, object],
          each: Sequence[Mapping[str, object]] = ()) -> None:
    """Write pictures, uint8 (count, height, width, channels), and all of them in one file, into a folder, which is made
    where it is not there.

    Args:
        about: what made them, for the note in each file.
        each: what else there is to say of each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        own = each[number] if each else {}
        _write(folder / f"{number:04}.png", picture, {**about, "number": number, **own})
    columns = int(np.ceil(np.sqrt(len(pictures))))
    _write(folder / GRID, tiled(pictures, columns), {**about, "count": len(pictures)})


def _write(path: Path, picture: np.ndarray, about: Mapping[str, object]) -> None:
    note = PIL.PngImagePlugin.PngInfo()
    note.add_text(NOTE, json.dumps(about))
    image = PIL.Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    with whole(path) as beside:
        image.save(beside, "PNG", pnginfo=note)
