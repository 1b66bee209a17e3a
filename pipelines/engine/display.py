"""What a run shows while it runs: a live line per stage on a terminal, plain lines in a log file."""
from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

#: Seconds between two lines about the same stage in a log file.
LOG_INTERVAL = 10


class Display:
    """The stages of a run, shown one after the other.

    Args:
        console: where they are shown: live on a terminal, else as lines.
    """

    def __init__(self, console: Console):
        self.console = console
        self._bar: Progress | None = None
        self._stage, self._logged = "", 0.0

    def line(self, text: str) -> None:
        """Show a line of text."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begin(self, stage: str) -> None:
        """Show that a stage begins."""
        self._stage, self._logged = stage, time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(TextColumn("  {task.description:<9}"), BarColumn(18),
                                 TextColumn("{task.fields[text]}", markup=False),
                                 TimeElapsedColumn(), console=self.console, transient=True)
            self._bar.add_task(stage, total=None, text="")
            self._bar.start()

    def progress(self, done: float, text: str) -> None:
        """Show the share of the stage that is done, 0 to 1, and what it is doing."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=1, completed=done, text=text)
        elif time.monotonic() - self._logged > LOG_INTERVAL:
            self._logged = time.monotonic()
            self.line(f"  {self._stage:<9} {done:>4.0%} {text}")

    def end(self, stage: str, summary: str, seconds: float, cached: bool) -> None:
        """Show that the stage is done."""
        self.close()
        took = "cached" if cached else f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
        self.line(f"  {stage:<9} {summary:<72} {took:>8}")

    def close(self) -> None:
        """Remove the live line."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class TrialDisplay(Display):
    """The progress of a trial's current stage, without a line for each stage that is done."""

    def line(self, text: str) -> None:
        """Show nothing: a trial has one line, which is not the run's."""

    def end(self, stage: str, summary: str, seconds: float, cached: bool) -> None:
        """Show that the stage is done."""
        self.close()
