"""The JSON Schema of recipes, for editors."""
from __future__ import annotations

import json

from pipelines.recipe.recipe import Recipe


def text() -> str:
    """Return the schema as JSON."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema(by_alias=True)}
    return json.dumps(schema, indent=1, default=str) + "\n"
