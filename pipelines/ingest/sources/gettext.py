"""What programs say, and its translations: the catalogues that come inside Python packages."""
from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from export.targets import tools
from pipelines.errors import UserError
from pipelines.ingest.index import Part
from pipelines.ingest.sources.parallel_text import of_pairs
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource

with epy.lazy_imports():
    import polib

EXTRA = "translation"
#: Folder of a language's catalogues in gettext's layout.
MESSAGES = "LC_MESSAGES"


class Gettext(TableSource, name="gettext", shorthand="language"):
    """Messages of programs in English and in another language, `source` and `target`, out of the gettext catalogues in
    installed packages. Placeholders such as %(name)s are part of both.

    Django (BSD) has those of its forms, dates and administration; pycountry (LGPL) the names of countries, their parts,
    languages, scripts and currencies. Messages that are not translated, or the same in both languages, and those with
    plural forms are left out.

    `sentence` is the source without capitals and what is neither letter nor digit; pairs of one sentence are in one
    split.

    Args:
        language: as the catalogues' folders are called: uk, de, pt_BR.
        packages: that are looked through.
        longest: characters of either text; pairs with longer ones are left out.
    """

    grouped_by = "sentence"
    language: str = Setting(min_length=2)
    packages: tuple[str, ...] = Setting(("django", "pycountry"), min_length=1)
    longest: int | None = Setting(None, ge=1)

    def fingerprint(self) -> str:
        if missing := tools.missing(EXTRA):
            raise UserError(f"data.source: gettext: {missing}")
        folders = [folder_of(package) for package in self.packages]
        versions = [importlib.metadata.version(package) if package in ("django", "pycountry") else
                    str(max((path.stat().st_mtime_ns for path in catalogues(folder, self.language)), default=0))
                    for package, folder in zip(self.packages, folders, strict=True)]
        return f"{self.language} {self.longest} " + " ".join(
            f"{package} {version}" for package, version in zip(self.packages, versions, strict=True))

    def tables(self) -> Mapping[Part, Table]:
        return {"train": _table(self.language, self.packages, self.longest)}


@functools.lru_cache(maxsize=2)
def _table(language: str, packages: Sequence[str], longest: int | None) -> Table:
    pairs: list[tuple[str, str]] = []
    known: set[str] = set()
    for package in packages:
        folder = folder_of(package)
        paths = catalogues(folder, language)
        if not paths:
            raise UserError(f"data.source.gettext.language: {package} has no catalogue in {language}; it has "
                            f"{', '.join(languages(folder)) or 'none'}")
        for path in paths:
            for entry in (polib.mofile if path.suffix == ".mo" else polib.pofile)(str(path)):
                is_one = entry.msgid and entry.msgstr and not entry.msgid_plural and not entry.obsolete
                if is_one and entry.msgid != entry.msgstr and entry.msgid not in known:
                    known.add(entry.msgid)
                    pairs.append((_one_line(entry.msgid), _one_line(entry.msgstr)))
    return of_pairs(f"gettext {language}", pairs, longest, "data.source.gettext")


def folder_of(package: str) -> Path:
    """Return the folder of an installed package. Raises UserError."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise UserError(f"data.source.gettext.packages: {package} is not installed")
    return Path(found.origin).parent


def catalogues(folder: Path, language: str) -> list[Path]:
    """Return the catalogues of a language below a folder, compiled where they are."""
    compiled = {path.with_suffix(""): path for path in folder.rglob(f"{language}/{MESSAGES}/*.mo")}
    written = {path.with_suffix(""): path for path in folder.rglob(f"{language}/{MESSAGES}/*.po")}
    return sorted({**written, **compiled}.values())


def languages(folder: Path) -> list[str]:
    """Return the languages that there are catalogues of below a folder."""
    return sorted({path.parent.name for path in folder.rglob(MESSAGES)})


def _one_line(text: str) -> str:
    return " ".join(text.split())
