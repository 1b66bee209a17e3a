"""`litepress serve` and its kin: what they take of runs, the rest is the serving room's."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from export.artifacts import ExportedList
from pipelines.engine import runs, workers
from pipelines.errors import UserError

#: Where REST is offered when a run is served; the port that TF Serving's own image takes.
REST_PORT = 8501


def serve(arguments: Sequence[str]) -> None:
    """Runs the embedded server. Raises UserError at what cannot be served."""
    from serving.flags import usage
    from serving.main import main

    if "--help" in arguments:
        print(usage("litepress serve [RUN | FOLDER of numbered versions] [FLAGS]")
              + f"\n\nWith a RUN or FOLDER, its model is served under its name, REST on port {REST_PORT} beside gRPC, unless flags say "
              "otherwise.\nStop with ctrl-C or SIGTERM: what is under way ends first.")
        return
    flags = list(arguments)
    if flags and not flags[0].startswith("-"):
        base, name = versions_of(Path(flags.pop(0)))
        given = {flag.partition("=")[0] for flag in flags}
        flags = [*(f"{flag}={value}" for flag, value in (("--model_base_path", base), ("--model_name", name),
                                                          ("--rest_api_port", REST_PORT)) if flag not in given), *flags]
    main(flags, "litepress serve", failed=2, importing=workers.quiet)


def versions_of(place: Path) -> tuple[Path, str]:
    """The folder of numbered versions that `place` stands for, itself or a run's, and the model's name. Raises UserError."""
    if (place / runs.RECORD).exists():
        run = runs.load(place)
        if "export" not in run.record.stages or run.record.stages["export"].state != "done":
            raise UserError(f"{place}: this run has exported nothing yet; let it come to its end with litepress run")
        made = ExportedList.model_validate(runs.read_json(run.path("export", "exported.json"))).artifacts
        found = next((one for one in made if one.target == "saved_model"), None)
        if found is None:
            raise UserError(f"{place}: this run made no SavedModel; add saved_model to export.targets")
        return run.path("export", found.path).parent, run.record.recipe["name"]
    if not place.is_dir():
        raise UserError(f"{place}: there is no such folder. Give a run's folder, or one that holds numbered versions of a model")
    if (place / "saved_model.pb").exists():
        raise UserError(f"{place} is one version of a model; give the folder that holds it, {place.parent}")
    return place, place.resolve().name
