"""`litepress.verify`: golden samples again, of a run, a bundle, its zip file."""
import shutil
from pathlib import Path

import pytest

import litepress
from export.delivery.golden import Checked
from pipelines.tools.verify_bundle import Verification

RUN = Path("runs/tiny/latest")


def test_a_bundles_zip_file_is_verified_as_its_folder_is(work, capsys):
    verification = litepress.verify(next((RUN / "package").glob("*.zip")))
    assert verification.passed and len(verification.checked) == 5
    assert verification.table().count("10 of 10 samples have the recorded best class") == 5
    assert repr(verification) == str(verification) == verification.table() and "float32" in verification._repr_html_()
    assert str(litepress.verify(litepress.results(RUN))) == str(verification)


def test_a_bundle_that_was_altered_is_refused(work):
    shutil.copytree(RUN / "package" / "bundle", "got")
    Path("got/labels.txt").write_text("O\n")
    with pytest.raises(litepress.UserError, match=r"labels.txt: it was altered"):
        litepress.verify("got", quiet=True)
    with pytest.raises(litepress.UserError, match="there is no bundle; give a run's folder, or a folder with"):
        litepress.verify("runs")


def test_a_model_that_answers_otherwise_raises_the_commands_line():
    checked = [Checked(name="float32", samples=10, same=10, worst=0.0, allowed=1.0),
               Checked(name="int8", samples=10, same=9, worst=0.0, allowed=1.0)]
    Verification(checked[:1]).require()
    with pytest.raises(litepress.GateError, match=r"^verify: int8 does not answer as recorded$"):
        Verification(checked).require()
