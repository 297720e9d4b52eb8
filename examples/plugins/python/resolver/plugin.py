"""Adds up what both sides counted, so that no booking is lost: a conflict resolver, one JSON object per record."""

import json
from decimal import Decimal, InvalidOperation

from wit_world.exports.meta import Example, FunctionInfo, PluginInfo

NAME = "add_changes"


def settle(conflict: dict) -> dict | None:
    """The merged values of the contested fields, or None: then a person decides."""
    merged = {}
    for field in conflict["fields"]:
        try:
            base, source, target = (number(conflict[side], field) for side in ("base", "source", "target"))
        except (InvalidOperation, TypeError):
            return None
        merged[field] = written(source + target - base)
    return merged


def number(record: dict | None, field: str) -> Decimal:
    # Through text, so that no digit is lost. None and booleans are no numbers.
    value = record[field] if record and field in record else None
    if value is None or isinstance(value, bool):
        raise TypeError
    return Decimal(str(value))


def written(value: Decimal) -> int | str:
    # A decimal is text in JSON; a whole number stays one.
    return int(value) if value == value.to_integral_value() else str(value)


def example(base, source, target, answer) -> Example:
    sides = {"base": {"stock": base}, "source": {"stock": source}, "target": {"stock": target}}
    return Example("{}", json.dumps(sides), json.dumps(answer))


FUNCTION = FunctionInfo(
    name=NAME,
    doc="Adds the changes of both sides to what was agreed before: for stocks and counters.",
    role="conflict-resolver",
    inputs=[],
    output="",
    deterministic=True,
    idempotent=False,
    reverse="",
    params_schema=json.dumps({"type": "object", "additionalProperties": False}),
    examples=[
        example(10, 8, 15, {"stock": 13}),
        example(10, "many", 15, "review"),
    ],
)


class Meta:
    def describe(self) -> PluginInfo:
        return PluginInfo(name=NAME, version="0.1.0", functions=[FUNCTION], extra="{}")


class SimpleResolver:
    # One text per conflict: a JSON object of its merged fields, or null.
    def resolve(self, ctx, function, params, conflicts) -> list[str]:
        return [json.dumps(settle(json.loads(conflict))) for conflict in conflicts]
