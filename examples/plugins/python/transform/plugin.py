"""Takes accents off letters, "Zoë" to "Zoe": a field transform, one text per value."""

import json
import unicodedata

from componentize_py_types import Ok, Result
from wit_world.exports.meta import Example, FunctionInfo, PluginInfo
from wit_world.exports.simple_transform import Failure

NAME = "strip_accents"


def strip_accents(text: str, keep: str) -> str:
    return "".join(letter if letter in keep else plain(letter) for letter in unicodedata.normalize("NFC", text))


def plain(letter: str) -> str:
    parts = unicodedata.normalize("NFD", letter)
    return unicodedata.normalize("NFC", "".join(part for part in parts if unicodedata.category(part) != "Mn"))


def example(params: dict, before: str | None, after: str | None) -> Example:
    return Example(json.dumps(params), json.dumps(before), json.dumps(after))


FUNCTION = FunctionInfo(
    name=NAME,
    doc="Takes accents and other marks off letters.",
    role="field-transform",
    inputs=["text"],
    output="text",
    deterministic=True,
    # f(f(x)) = f(x), so it may run in both directions of a pair.
    idempotent=True,
    reverse="",
    params_schema=json.dumps(
        {
            "type": "object",
            "properties": {"keep": {"type": "string", "description": "Letters that stay as they are"}},
            "additionalProperties": False,
        }
    ),
    examples=[
        example({}, "Zoë Ångström", "Zoe Angstrom"),
        example({"keep": "äöü"}, "Jürgen Café", "Jürgen Cafe"),
        example({}, None, None),
    ],
)


class Meta:
    def describe(self) -> PluginInfo:
        return PluginInfo(name=NAME, version="0.1.0", functions=[FUNCTION], extra="{}")


class SimpleTransform:
    # One answer per value: Ok(text or None), or Err(Failure(code, message)); messages end up in logs, so never the value.
    def apply(self, ctx, function, params, kind, values) -> list[Result[str | None, Failure]]:
        keep = json.loads(params).get("keep", "")
        return [Ok(None if value is None else strip_accents(value, keep)) for value in values]
