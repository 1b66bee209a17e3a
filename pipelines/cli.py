"""The command line: `litepress`, and how its errors become exit codes."""
from __future__ import annotations

import sys

import pipelines.commands  # noqa: F401  makes the commands known
from pipelines.commands.options import app
from pipelines.errors import GateError, StageError, UserError


def main() -> None:
    """The console script."""
    try:
        app()
    except UserError as error:
        _end(error, 2)
    except GateError as error:
        _end(error, 1)
    except StageError as error:
        _end(error, 3)


def _end(error: Exception, code: int) -> None:
    sys.stdout.flush()
    print(error, file=sys.stderr)
    sys.exit(code)
