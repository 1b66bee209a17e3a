"""Masks over images: which colours, and where."""
import matplotlib.image
import numpy as np

from pipelines.figures import segmentation


def test_every_class_but_the_background_has_a_colour_of_its_own():
    few = segmentation.colors(["background", "a", "b"])
    assert few[0] is None and len(set(few[1:])) == 2 and None not in few[1:]
    many = segmentation.colors([str(number) for number in range(20)])
    assert len(set(many)) == 20 and None not in many
    assert segmentation.colors(["a", "b"])[0] is not None, "the first class is not always the background"


def test_a_row_shows_what_is_wrong(tmp_path):
    """The panel of wrong pixels is red where the answer differs, but not where the truth is void."""
    truth = np.zeros((10, 10), "uint8")
    truth[:, 5:] = 1
    truth[:5, :5] = 255
    image = np.full((10, 10), 128)
    wrong = []
    for answer in (np.ones((10, 10), int), np.where(truth == 255, 1, truth)):
        rows = [("worst", lambda axes: axes.imshow(image, cmap="gray", vmin=0, vmax=255), truth, answer)]
        segmentation.answers(rows, ["background", "tumour"], tmp_path / "a.png")
        drawn = matplotlib.image.imread(tmp_path / "a.png")[..., :3]
        red = np.abs(drawn - np.array(matplotlib.colors.to_rgb(segmentation.WRONG_COLOR))).max(-1) < 0.02
        wrong.append(red[:, red.shape[1] * 3 // 4:].sum())
    panel = (drawn == 128 / 255).all(-1)[:, :drawn.shape[1] // 4].sum()
    assert wrong[1] == 0 and 0.2 < wrong[0] / max(1, panel) < 0.3, "a quarter of the pixels"
