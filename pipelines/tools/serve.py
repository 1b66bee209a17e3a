"""`litepress serve`: what it takes of a run; the rest is the package `serving`."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from export.artifacts import ExportedList
from pipelines.engine import runs, workers
from pipelines.errors import UserError
from pipelines.tools.text_to_image import about as text_to_image

#: Where REST is offered when a run is served; the port that TF Serving's own image takes.
REST_PORT = 8501


def serve(arguments: Sequence[str]) -> None:
    """Run the embedded server until it is stopped. Raises UserError where something cannot be served."""
    from serving.flags import usage
    from serving.main import main

    if "--help" in arguments:
        print(usage("litepress serve [RUN | FOLDER of numbered versions] [FLAGS]"))
        print(f"\nWith a RUN or FOLDER, its model is served under its name, REST on port {REST_PORT} beside gRPC, "
              "unless flags say otherwise.\nStop with ctrl-C or SIGTERM: in-flight requests finish first.")
        return
    flags = list(arguments)
    if flags and not flags[0].startswith("-"):
        base, name = versions_of(Path(flags.pop(0)))
        if text_to_image.folder_of(base) is not None:
            _know_text_operators()
        chosen = {flag.partition("=")[0] for flag in flags}
        defaults = {"--model_base_path": base, "--model_name": name, "--rest_api_port": REST_PORT}
        flags = [*(f"{flag}={value}" for flag, value in defaults.items() if flag not in chosen), *flags]
    main(flags, "litepress serve", failed=2, importing=workers.quiet)


def versions_of(folder: Path) -> tuple[Path, str]:
    """Return the folder of numbered versions that a folder stands for, itself or a run's, and the model's name.

    Raises:
        UserError: there is no SavedModel in it.
    """
    if (folder / runs.RECORD).exists():
        run = runs.load(folder)
        if "export" not in run.record.stages or run.record.stages["export"].state != "done":
            raise UserError(f"{folder}: this run has exported nothing yet; finish it with litepress run")
        exported = ExportedList.model_validate(runs.read_json(run.path("export", "exported.json"))).artifacts
        saved_model = next((one for one in exported if one.target == "saved_model"), None)
        if saved_model is None:
            raise UserError(f"{folder}: this run made no SavedModel; add saved_model to export.targets")
        return run.path("export", saved_model.path).parent, run.record.recipe["name"]
    if (folder / text_to_image.ABOUT).is_file():
        versions = (folder / text_to_image.SAVED_MODEL).parent
        if not versions.is_dir():
            raise UserError(f"{folder}: no SavedModel was made of it; press the preset with --targets saved_model")
        return versions, folder.resolve().name
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder. Give a run's folder, or one that holds numbered versions "
                        "of a model")
    if (folder / "saved_model.pb").exists():
        raise UserError(f"{folder} is one version of a model; give the folder that holds it, {folder.parent}")
    return folder, folder.resolve().name


def _know_text_operators() -> None:
    """Make known to TensorFlow the operators that cut texts in the graph. Raises UserError."""
    try:
        with workers.quiet():
            import tensorflow_text  # noqa: F401
    except ImportError as error:
        raise UserError("serve: TensorFlow Text cuts the texts, which the extra hub brings: "
                        ".venv/bin/pip install -e '.[hub]'") from error
