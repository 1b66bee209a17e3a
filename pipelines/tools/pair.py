"""`litepress pair`: a detector and a model of embeddings as one bundle."""
from __future__ import annotations

import re
import shutil
from pathlib import Path

from export.delivery import pair
from pipelines.errors import UserError
from pipelines.tools import gallery
from pipelines.tools.publish import bundle_of

#: What a pair may be called.
NAME = r"[a-z][a-z0-9_]*"


def write(detector: Path, embedder: Path, out: Path, far: float) -> list[str]:
    """Write one bundle of the two, with drivers; return lines about it.

    Args:
        detector, embedder: a run's folder each, or a bundle's.
        out: the folder to make; its name is that of the pair.
        far: share of false acceptances that the threshold is for.

    Raises:
        UserError: one of the two is not what it must be, or the folder is there already.
    """
    if not re.fullmatch(NAME, out.name):
        raise UserError(f"pair: --out {out}: the pair is called {out.name}, and code after it: give small letters, "
                        "digits and _, beginning with a letter")
    if out.exists():
        raise UserError(f"pair: --out {out}: is there already; give a new folder")
    finds, embeds = (_part(bundle_of(folder)) for folder in (detector, embedder))
    try:
        pair.check(finds, embeds)
    except ValueError as error:
        raise UserError(f"pair: {error}") from error
    threshold = gallery.threshold_for(gallery.find_embedder(embeds.path), far, "pair")
    unfinished = out.parent / f".{out.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        pair.write(unfinished, out.name, finds, embeds, far, threshold)
        unfinished.rename(out)
    except ValueError as error:
        raise UserError(f"pair: {error}") from error
    except OSError as error:
        raise UserError(f"pair: {error.filename or out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    code = sorted(path.relative_to(out).as_posix() for path in (out / "code").rglob("*") if path.is_file())
    return [f"{out}: {finds.path.stem} of {finds.name} finds, {embeds.path.stem} of {embeds.name} embeds; from a "
            f"cosine of {threshold:.3f} on two are one person, for a share of false acceptances of {far:g}",
            f"drivers: {', '.join(code)}",
            f"next: litepress enroll {out} PEOPLE, or python {out}/code/python/{pair.DRIVER} PICTURE"]


def _part(folder: Path) -> pair.Part:
    try:
        return pair.part_of(folder)
    except (ValueError, KeyError) as error:
        raise UserError(f"pair: {error}") from error
    except OSError as error:
        raise UserError(f"pair: {error.filename}: a bundle has this file, and it cannot be read "
                        f"({error.strerror})") from error
