"""`litepress replay`: recorded requests, sent again to two versions of a model."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import UserError

if TYPE_CHECKING:
    from serving.replay import Replayed


def replay(logs: list[Path], address: str, model: str, old: str, new: str, limit: int) -> Replayed:
    """Sends recorded requests to two versions, each by its number or label. Raises UserError."""
    from serving import replay as replaying
    from serving.client import Access

    def access(which: str) -> Access:
        return Access(address, model, version=int(which)) if which.isdigit() else Access(address, model, label=which)

    try:
        return replaying.replay(check_logs(logs), access(old), access(new), limit)
    except ValueError as error:
        raise UserError(f"replay: {error}") from error


def check_logs(logs: list[Path]) -> list[Path]:
    """The same files. Raises UserError where one is not there."""
    for path in logs:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
    return logs


def shown(found: Replayed, old: str, new: str) -> list[str]:
    """A replay as lines."""
    lines = [f"{found.requests:,} requests to {old} and {new}"]
    for which, name in (("old", old), ("new", new)):
        failed = found.errors[which]
        lines.append(f"  {name:<12} p50 {found.latency.get(which, float('nan')):.2f} ms, {len(failed)} errors"
                     + (f", the first: {failed[0][:100]}" if failed else ""))
    for one in found.outputs:
        top = f", same class on {one.same_top:.2%}" if one.same_top is not None else ""
        lines.append(f"  {one.name:<12} same on {one.same:.2%} of {one.rows:,} rows{top}; off by at most {one.largest:.2g}, on average "
                     f"{one.mean:.2g}")
    return lines
