"""Reading a recipe: a file, text or a mapping, overrides, and errors that name the line."""
from __future__ import annotations

import difflib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipelines.errors import UserError
from pipelines.recipe.recipe import Recipe


def read(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe in a file.

    Args:
        path: a YAML file.
        overrides: settings to change, each written ``train.epochs=30``; the value is YAML.

    Raises:
        UserError: one line for each mistake, with the file's line, the setting, and what would be right.
    """
    return of_text(_text(path), str(path), overrides)


def of_text(text: str, title: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe in YAML text. Raises UserError as `read` does.

    Args:
        title: what errors call the recipe.
    """
    return of_document(_parse(text, title), title, overrides)


def of_document(document: Any, title: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe in a mapping of settings, which the overrides change. Raises UserError as `read` does; a line
    is named where the mapping was read from text.

    Args:
        title: what errors call the recipe.
    """
    if not isinstance(document, dict):
        raise UserError(f"{title}:1: a recipe is a mapping of settings (name: …, data: …), this is {_kind(document)}")
    overridden = [_override(document, override) for override in overrides]
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        result = [in_words(title, document, dict(one), overridden) for one in error.errors(include_url=False)]
        raise UserError("\n".join(dict.fromkeys(result))) from None


def write(recipe: Recipe) -> str:
    """Return the recipe as YAML with every default filled in."""
    yaml, stream = YAML(), io.StringIO()
    yaml.default_flow_style = None  # type: ignore[assignment]
    yaml.width = 120
    yaml.dump(recipe.written(), stream)
    return stream.getvalue()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = [str(other) for other in Path("recipes").rglob("*.yaml")]
        near = difflib.get_close_matches(str(path), known, n=1, cutoff=0.4)
        raise UserError(f"{path}: no such recipe. "
                        + (f"Did you mean {near[0]}?" if near else "See litepress list recipes.")) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file (byte {error.start} is not UTF-8); a recipe is YAML") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _parse(text: str, where: str) -> Any:
    try:
        return YAML().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = " ".join(str(error.problem or error.context).split())
        raise UserError(f"{where}:{line}: not valid YAML: {problem}") from None
    except YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None


def _override(document: dict, override: str) -> tuple[str, ...]:
    """Change the document as ``a.b=value`` says; return the path that was changed."""
    name, equals, value = override.partition("=")
    if not equals or not name.strip():
        raise UserError(f"--set {override}: write it as train.epochs=30")
    keys = name.strip().split(".")
    if keys[0] == "gates" and len(keys) > 2:
        keys = ["gates", ".".join(keys[1:])]
    node: Any = document
    for key in keys[:-1]:
        inner = node.get(key)
        if isinstance(inner, str):
            inner = {inner: {}}
        node[key] = inner = {} if inner is None else inner
        if not isinstance(inner, dict):
            raise UserError(f"--set {override}: {name.rpartition('.')[0]} has no settings of its own; it is {inner!r}")
        node = inner
    is_limit = keys[0] == "gates" and len(keys) > 1  # in YAML, > would begin a block of text
    node[keys[-1]] = value.strip() if is_limit else _parse(value, f"--set {override}")
    return tuple(keys)


def in_words(path: str, document: Any, result: dict[str, Any], overridden: Sequence[tuple[str, ...]] = ()) -> str:
    """Return what pydantic finds wrong with a recipe, in a line that names where."""
    context = result.get("ctx") or {}
    names, line = _locate(document, context.get("at") or result["loc"], context.get("key"))
    setting = ".".join(names)
    changed = any(tuple(names[:len(keys)]) == keys[:len(names)] for keys in overridden)
    where = f"{path} with --set" if changed else f"{path}:{line}" if line else path
    return f"{where}: {_message(setting, result, context)}"


def _locate(document: Any, location: Sequence[str | int], key: str | None) -> tuple[list[str], int | None]:
    """Return the setting's path as the recipe writes it, and its line (from 1), of a location that pydantic names."""
    names: list[str] = []
    node: Any = document
    line = 1 if hasattr(document, "lc") else None  # a mapping that no text was read from has no lines
    for item in [*location, *([key] if key is not None else [])]:
        if isinstance(node, dict) and item not in node and len(node) == 1 and isinstance(next(iter(node.values())),
                                                                                         dict):
            name = next(iter(node))
            names.append(str(name))
            line = _line(node, name) or line
            node = node[name]
        names.append(str(item))
        if (isinstance(node, dict) and item in node) or (isinstance(node, list) and isinstance(item, int)
                                                         and item < len(node)):
            line = _line(node, item) or line
            node = node[item]  # type: ignore[index]
    return names, line


def _line(node: Any, item: Any) -> int | None:
    try:
        marks = node.lc.data
        return marks[item][0] + 1
    except (AttributeError, KeyError, TypeError):
        return None


def _message(setting: str, result: dict[str, Any], context: dict[str, Any]) -> str:
    kind = result["type"]
    value = result.get("input")
    near = context.get("nearest")
    known = context.get("known", [])
    if kind == "unknown_key":
        parent = setting.rpartition(".")[0]
        hint = f"Did you mean {f'{parent}.{near}' if parent else near}?" if near else f"Known here: {', '.join(known)}."
        return f"{setting} is not a setting. {hint}"
    if kind == "unknown_entry":
        hint = f"Did you mean {near}?" if near else f"Known: {', '.join(known)}."
        return f"{setting}: there is no {context['kind']} called {context['entry']}. {hint}"
    if kind == "missing":
        return f"{setting} is missing"
    if kind == "combination":
        return f"{setting}: {result['msg']}"
    if kind == "gate":
        colon = ":" if "no value" in context["reason"] else ""
        return f"{setting}{colon} {context['reason']}"
    return f"{setting} is {_shown(value)}; {_expected(kind, result['msg'], context)}"


def _expected(kind: str, message: str, context: dict[str, Any]) -> str:
    bounds = {"greater_than": "more than {gt}", "greater_than_equal": "at least {ge}", "less_than": "less than {lt}",
              "less_than_equal": "at most {le}", "literal_error": "allowed: {expected}",
              "string_pattern_mismatch": "it must match {pattern}", "string_too_long": "at most {max_length} "
                                                                                       "characters",
              "too_short": "give at least {min_length}", "string_too_short": "it must not be empty"}
    if kind in bounds:
        text = bounds[kind].format(**context)
        return text if text.startswith(("allowed", "at most", "it",
                                        "give")) and "than_" not in kind else f"it must be {text}"
    for prefix, expected in (("int", "give a whole number"), ("float", "give a number"), ("bool", "give true or false"),
                           ("list", "give a list"), ("dict", "give a mapping"), ("model", "give a mapping of settings"),
                           ("string", "give text")):
        if kind.startswith(prefix):
            return expected
    return message


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "empty"
    text = repr(dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value)
    return text if len(text) <= 60 else text[:57] + "…"


def _kind(value: Any) -> str:
    return {"NoneType": "empty", "str": "text", "CommentedSeq": "a list"}.get(type(value).__name__,
                                                                              type(value).__name__)
