"""The tables of what a run measured, for terminals and for what else shows them."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from export.artifacts import Exported
from export.tflite.chunked import ENDING
from pipelines.reporting.results import ArtifactResult, Results, recommendations
from pipelines.reporting.verified import PROTOCOLS


def table(results: Results) -> str:
    """Return the table of all artifacts, for a terminal; empty where the model was not evaluated."""
    rows = artifact_rows(results)
    return aligned(rows, [str.ljust, *[str.rjust] * (len(rows[0]) - 2), str.ljust]) if rows else ""


def artifact_rows(results: Results) -> list[tuple[str, ...]]:
    """Return the rows of the table of all artifacts, the first of which are its titles: the trained model, those
    beside it, and each artifact, behind which stand remarks."""
    if results.reference is None:
        return []
    main = results.asked.main
    advice = recommendations(results)
    answered = gives_answered(results)
    titles = ("artifact", "bytes", "zipped", main.title, "drop", "max |Δ|", "p50 ms", *["answered"] * answered,
              "order-independent", "")
    rows: list[tuple[str, ...]] = [titles]
    none = ["–"] * (1 + answered)
    rows.append((f"{results.reference.kind} (reference)", "–", "–", f"{results.reference.metrics[main.name]:.4f}", "–",
                 "–", *none, _yes(results.reference.order_independent), ""))
    for name, metrics in results.reference.baselines.items():
        rows.append((f"  beside: {name.replace('_', ' ')}", "–", "–", f"{metrics[main.name]:.4f}", "–", "–", *none, "–",
                     ""))
    for one in results.artifacts:
        whole = [f"{one.latency_ms.p50 if one.latency_ms.answered is None else one.latency_ms.answered:.3f}"]
        rows.append((one.title, f"{one.bytes:,}", f"{one.zipped:,}", f"{one.metrics[main.name]:.4f}",
                     _signed(one.drop[main.name]),
                     f"{one.max_error:.0e}", f"{one.latency_ms.p50:.3f}", *whole * answered,
                     _yes(one.order_independent), _remarks(results, one, advice)))
        for protocol, served in one.served.items():
            value = served.metrics[main.name]
            drop = main.drop(results.reference.metrics[main.name], value)
            # What was measured on fewer examples does not compare with the reference on all.
            numbers = (f"{value:.4f}", _signed(drop)) if served.examples is None else ("–", "–")
            rows.append((f"  served, {PROTOCOLS[protocol]}", "–", "–", *numbers, f"{served.max_error:.0e}", *none, "–",
                         ""))
    return rows


def gives_answered(results: Results) -> bool:
    """Return whether the driver of some artifact has work behind the file."""
    return any(one.latency_ms.answered is not None for one in results.artifacts)


def _signed(drop: float) -> str:
    """Return a drop with four digits, and without a sign where these are all 0."""
    return f"{round(drop, 4) + 0.0:.4f}"


def beside_trained(results: Results, one: ArtifactResult) -> dict[str, float]:
    """Return what is measured of an artifact alone, by title: how near it is to the trained model."""
    known = results.reference.metrics if results.reference else {}
    return {metric.title: one.metrics[metric.name] for metric in results.asked.metrics
            if metric.name in one.metrics and metric.name not in known}


def _remarks(results: Results, one: ArtifactResult, advice: Mapping[str, str]) -> str:
    """Return what stands behind an artifact in the table: what it is recommended for, and what a phone's file takes
    that the model does not."""
    recommended = [f"← {advice[one.name]}"] if one.name in advice else []
    if one.latency_ms.real_time_factor is not None:
        recommended.append(f"real-time factor {one.latency_ms.real_time_factor:.2g}")
    recommended += one.latency_ms.in_steps
    recommended += [f"{title} {value:.4g}" for title, value in beside_trained(results, one).items()]
    if one.beyond:
        limit = "what its ranges were found with" if one.ranges else "its integers"
        recommended.append(f"{one.beyond:,} test examples reach beyond {limit}")
    return "; ".join(recommended + (one.notes if one.is_tflite or one.path.endswith(ENDING) else []))


def compiled_table(results: Results) -> str:
    """Return the table of what was compiled for hardware that is not here, for a terminal; empty where nothing was."""
    rows = compiled_rows(results)
    return aligned(rows, [str.ljust, str.rjust, str.rjust, str.ljust, str.ljust]) if rows else ""


def compiled_rows(results: Results) -> list[tuple[str, ...]]:
    """Return the rows of the table of what was compiled for hardware that is not here, the first of which are its
    titles; none where nothing was."""
    if not results.compiled:
        return []
    rows: list[tuple[str, ...]] = [("compiled for", "bytes", "on it", "estimate", "")]
    for one in results.compiled:
        rows.append((one.title, f"{one.bytes:,}",
                     f"{one.coverage.taken} of {one.coverage.total}" if one.coverage else "–",
                     estimate(one), one.summary))
    return rows


def estimate(one: Exported) -> str:
    """Return what a compiler estimates, in a few words."""
    known = one.estimates
    parts = []
    if "latency_ms" in known:
        parts.append(f"{known['latency_ms']:.3f} ms")
    for name, memory in (("sram_bytes", "SRAM"), ("arena_bytes", "arena"), ("dram_bytes", "DRAM"),
                         ("flash_bytes", "flash")):
        if known.get(name):
            parts.append(f"{memory} {known[name] / 1024:,.0f} kB")
    return " · ".join(parts) or "–"


def aligned(rows: Sequence[Sequence[str]], how: Sequence[Callable[[str, int], str]]) -> str:
    """Return rows as lines of a table, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  " + "  ".join(align(cell, width) for align, cell,
                                      width in zip(how, row, widths, strict=True)).rstrip()
                     for row in rows)


def _yes(value: bool) -> str:
    return "yes" if value else "NO"
