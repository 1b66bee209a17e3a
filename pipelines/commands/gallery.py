"""Commands about who is known to a model of embeddings."""
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from pipelines.commands.options import LOOK, SHIP, app, check_file

Embeddings = Annotated[Path, typer.Argument(
    metavar="MODEL", help="a run's folder, a bundle's, or a TFLite file in one of them; or a pair, see litepress pair")]
GalleryFile = Annotated[Path, typer.Option("--gallery", metavar="FILE.json", help="who is known, as enroll writes it")]
Detector = Annotated[Optional[Path], typer.Option(
    "--detector", metavar="RUN", help="the run of a detector that finds the face in each image")]


@app.command(rich_help_panel=LOOK)
def enroll(
        model: Embeddings,
        folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="a folder of images for each person")],
        gallery: GalleryFile = Path("gallery.json"),
        far: Annotated[float, typer.Option(
            min=0, max=1, help="share of the pairs of two people that may be taken for one")] = 0.01,
        detector: Detector = None) -> None:
    """Write a gallery of the people in a folder, with the threshold for a share of false acceptances."""
    from pipelines.engine import workers
    from pipelines.tools import gallery as tool

    check_file("--gallery", gallery)
    for line in workers.call(tool.enroll, model, folder, far, gallery, detector, what="enroll"):
        typer.echo(line)


@app.command(rich_help_panel=SHIP)
def pair(
        detector: Annotated[Path, typer.Argument(metavar="DETECTOR", help="a run of object_detection, or its bundle")],
        embedder: Annotated[Path, typer.Argument(metavar="EMBEDDER", help="a run of face_recognition, or its bundle")],
        out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="the folder to make")],
        far: Annotated[float, typer.Option(
            min=0, max=1, help="share of the pairs of two people that may be taken for one")] = 0.01) -> None:
    """Write one bundle of a detector of faces and a model of embeddings, with a driver in Python, Kotlin and Swift."""
    from pipelines.engine import workers
    from pipelines.tools import pair as tool

    for line in workers.call(tool.write, detector, embedder, out, far, what="pair"):
        typer.echo(line)


@app.command(rich_help_panel=LOOK)
def identify(
        model: Embeddings,
        files: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="images, or folders of them")],
        gallery: GalleryFile = Path("gallery.json"), detector: Detector = None) -> None:
    """Say who of a gallery is on an image; people who are not in it are unknown."""
    from pipelines.engine import workers
    from pipelines.tools import gallery as tool

    for line in workers.call(tool.identify, model, files, gallery, detector, what="identify"):
        typer.echo(line)
