"""What a run shows of itself in a notebook: the tables that a terminal gets, its gates, and the report's figure."""
from __future__ import annotations

from pathlib import Path

from etils import epy

from pipelines.reporting import report
from pipelines.reporting.results import Results
from pipelines.reporting.tables import artifact_rows, compiled_rows

with epy.lazy_imports():
    import jinja2


def of_results(results: Results) -> str:
    """Return what a run measured as a fragment of HTML. A run that stopped before its model was evaluated shows its
    stages."""
    tables = [rows for rows in (artifact_rows(results), compiled_rows(results)) if rows] or [_stages(results)]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(
        Path(__file__).with_name("notebook.html.j2").read_text())
    return template.render(
        results=results, name=Path(results.folder).parent.name, tables=tables, title=results.asked.main.title,
        lines=[*results.failed.values(), *results.left_out.values()],
        figure=report.pareto(results) if results.artifacts else "")


def _stages(results: Results) -> list[tuple[str, ...]]:
    return [("stage", "seconds", ""),
            *((stage.name, f"{stage.seconds:.1f}", "cached" if stage.cached else "") for stage in results.stages)]
