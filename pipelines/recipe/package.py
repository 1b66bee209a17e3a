"""The part of a recipe that says what the bundle says of itself."""
from __future__ import annotations

from pydantic import Field

from pipelines.entries import Section


class PackageSection(Section):
    """What the bundle, and the metadata inside its files, say of themselves.

    Args:
        version: of the model, major.minor.patch; `litepress publish` never overwrites one.
        description: a line; what the builder is and knows where not given.
        author: a person or a team.
        license: of the model, for instance Apache-2.0.
        medical: whether the model card says that this is no medical device; by default where the data's source is
            medical, such as dicom, nifti and brain.
        rollback: the version that an app falls back to when this one fails; the one published before where not given.
    """

    version: str = Field("1.0.0", pattern=r"^\d+\.\d+\.\d+$")
    description: str = Field("", max_length=200)
    author: str = Field("", max_length=200)
    license: str = Field("", max_length=100)
    medical: bool | None = None
    rollback: str | None = Field(None, pattern=r"^\d+\.\d+\.\d+$")
