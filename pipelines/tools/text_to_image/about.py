"""What is known of a pressed model that makes pictures of texts: how texts become tokens, and noise pictures."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epy
from pydantic import BaseModel, ValidationError

from models.stable_diffusion import Words
from pipelines.errors import UserError

with epy.lazy_imports():
    import numpy as np

#: The file that says it, the tokenizer beside it, and the folders of TFLite files and of the SavedModel.
ABOUT, TOKENIZER, LITERT, SAVED_MODEL = "text_to_image.json", "tokenizer.json", "litert", "saved_model/1"
#: Folders above a file that are searched for what is known of it.
LEVELS = 2


class About(BaseModel):
    """A pressed model.

    Args:
        preset: that it was made of.
        image, latent: their shapes, (height, width, channels).
        known: steps that the model knows.
        shift: see `export.writing.flow.plan`.
        steps, guidance: what is taken where nothing is said.
        words: by the name of the input that takes the tokens.
    """

    preset: str
    image: tuple[int, int, int]
    latent: tuple[int, int, int]
    known: int
    shift: float
    steps: int = 28
    guidance: float = 7.0
    words: dict[str, Words]

    @property
    def factor(self) -> int:
        """Return how many pixels a side of a latent's is."""
        return self.image[0] // self.latent[0]

    def tokens(self, texts: Sequence[str], folder: Path) -> Mapping[str, np.ndarray]:
        """Return the tokens of texts, int32 (texts, length), by the name of the input that takes them.

        Args:
            folder: with the tokenizer.

        Raises:
            UserError: the library of tokenizers is not installed.
        """
        try:
            import tokenizers
        except ImportError:
            raise UserError("sample: the library tokenizers cuts texts, and is not installed; .venv/bin/pip install -e "
                            "'.[text]' brings it") from None
        cut = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
        numbers = [cut.encode(text, add_special_tokens=False).ids for text in texts]
        return {name: np.array([words.framed(one) for one in numbers], np.int32) for name, words in self.words.items()}

    def coarse(self, mask: np.ndarray) -> np.ndarray:
        """Return a mask of pixels, (batch, height, width, 1), for latents: at the pixel in the middle of each, as
        KerasHub has it. It may be a tensor."""
        return mask[:, self.factor // 2::self.factor, self.factor // 2::self.factor]


def folder_of(artifact: Path) -> Path | None:
    """Return the folder of the pressed model that a path lies in; None where there is none."""
    places = (artifact, *list(artifact.absolute().parents)[:LEVELS])
    return next((place for place in places if (place / ABOUT).is_file()), None)


def read(folder: Path) -> About:
    """Return what is known of a pressed model. Raises UserError where the file is damaged."""
    try:
        return About.model_validate_json((folder / ABOUT).read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{folder / ABOUT} does not say what the model is; press the preset again") from error
