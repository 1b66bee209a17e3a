"""`litepress replay`: recorded requests, sent again to two versions of a model."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import UserError

if TYPE_CHECKING:
    from serving.replay import Replayed


def replay(logs: list[Path], address: str, model: str, old: str, new: str, limit: int) -> Replayed:
    """Send recorded requests to two versions, each by its number or label. Raises UserError."""
    from serving import replay as replaying
    from serving.client import Access

    def access(version: str) -> Access:
        return Access(address, model, version=int(version)) if version.isdigit() else Access(address, model,
                                                                                             label=version)

    try:
        return replaying.replay(check_logs(logs), access(old), access(new), limit)
    except ValueError as error:
        raise UserError(f"replay: {error}") from error


def check_logs(logs: list[Path]) -> list[Path]:
    """Return the same files. Raises UserError where one is not there."""
    for path in logs:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
    return logs


def lines(result: Replayed, old: str, new: str) -> list[str]:
    """Return a replay, for a terminal."""
    output = [f"{result.requests:,} requests to {old} and {new}"]
    for side, name in (("old", old), ("new", new)):
        failed = result.errors[side]
        first = f", the first: {failed[0][:100]}" if failed else ""
        output.append(f"  {name:<12} p50 {result.latency.get(side, float('nan')):.2f} ms, {len(failed)} errors{first}")
    for one in result.outputs:
        top = f", same class on {one.same_top:.2%}" if one.same_top is not None else ""
        off = f"off by at most {one.largest:.2g}, on average {one.mean:.2g}"
        output.append(f"  {one.name:<12} same on {one.same:.2%} of {one.rows:,} rows{top}; {off}")
    return output
