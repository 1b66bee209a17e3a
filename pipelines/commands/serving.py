"""Commands about serving."""
from __future__ import annotations

import typer

from pipelines.commands.options import app


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["--help"]})
def serve(context: typer.Context) -> None:
    """Serve models as TF Serving does: [RUN or folder of numbered versions] [flags of tensorflow_model_server]; --helpfull lists them."""
    from pipelines import serving_commands

    serving_commands.serve(context.args)
