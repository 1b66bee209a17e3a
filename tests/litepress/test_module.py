"""`import litepress`: what is there, and how little it takes."""
import subprocess
import sys
from pathlib import Path

import pytest

import litepress
from pipelines import errors

LOOK = """
import time
begin = time.perf_counter()
import litepress
seconds = time.perf_counter() - begin
import sys
print(seconds, [name for name in ("numpy", "tensorflow", "keras", "pydantic", "rich") if name in sys.modules])
"""


@pytest.mark.timed
def test_the_import_is_light():
    printed = [subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True).stdout
               for _ in range(3)]
    assert {line.split(maxsplit=1)[1].strip() for line in printed} == {"[]"}
    assert min(float(line.split()[0]) for line in printed) < 0.3


def test_no_module_of_the_package_takes_a_functions_name():
    """The import of one puts it in the place of the function."""
    modules = {path.stem for path in Path(litepress.__file__).parent.glob("*.py")}
    assert "caller" in modules and not modules & set(litepress.__all__)


def test_every_name_is_there_and_says_what_it_is():
    for name in litepress.__all__:
        assert getattr(litepress, name).__doc__, name
    assert litepress.UserError is errors.UserError and litepress.GateError is errors.GateError
    with pytest.raises(AttributeError, match="has no attribute train"):
        litepress.train  # noqa: B018
