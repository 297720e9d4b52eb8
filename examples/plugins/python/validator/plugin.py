"""Whether a bank account number (IBAN) can be right: a validator, one JSON object per record."""

import json

from wit_world.exports.meta import Example, FunctionInfo, PluginInfo
from wit_world.exports.simple_validator import Violation

NAME = "iban_check"
# The field to look at where the configuration names none.
FIELD = "iban"


def violations(record: dict, field: str) -> list[Violation]:
    """What is wrong with a record; nothing = it is valid. Messages end up in logs, so never the value."""
    value = record.get(field)
    if value is None:
        return []
    iban = str(value).replace(" ", "").upper()
    if not (15 <= len(iban) <= 34 and iban.isascii() and iban.isalnum()):
        return [Violation(field, "bad-iban", "15 to 34 letters and digits are expected")]
    # ISO 13616: the first four characters go to the end, letters count from 10, and the remainder by 97 is 1.
    digits = "".join(str(int(character, 36)) for character in iban[4:] + iban[:4])
    if int(digits) % 97 != 1:
        return [Violation(field, "bad-iban", "its check digits do not fit")]
    return []


def example(record: dict, *codes: str) -> Example:
    return Example("{}", json.dumps(record), json.dumps([{"field": FIELD, "code": code} for code in codes]))


FUNCTION = FunctionInfo(
    name=NAME,
    doc="Refuses bank account numbers whose check digits do not fit.",
    role="validator",
    inputs=[],
    output="",
    deterministic=True,
    idempotent=False,
    reverse="",
    params_schema=json.dumps(
        {
            "type": "object",
            "properties": {"field": {"type": "string", "description": "The field to look at; iban by default"}},
            "additionalProperties": False,
        }
    ),
    examples=[
        example({FIELD: "DE89 3704 0044 0532 0130 00"}),
        example({FIELD: "DE89 3704 0044 0532 0130 01"}, "bad-iban"),
        example({FIELD: None}),
        example({}),
    ],
)


class Meta:
    def describe(self) -> PluginInfo:
        return PluginInfo(name=NAME, version="0.1.0", functions=[FUNCTION], extra="{}")


class SimpleValidator:
    def check(self, ctx, function, params, records) -> list[list[Violation]]:
        field = json.loads(params).get("field", FIELD)
        return [violations(json.loads(record), field) for record in records]
