#!/usr/bin/env python3
"""Writes phone_numbers.tsv: what libphonenumber makes of its example numbers of every region, in many spellings.

    pip install phonenumbers==9.0.42      # the metadata that rlibphonenumber 2.2.15 carries
    python3 phone_numbers.py > phone_numbers.tsv

Run by hand, not by the tests: those feed the rows to the component (tests/it/phone_numbers.rs). The oracle is the package
`phonenumbers`, a port of libphonenumber to Python. Example numbers and metadata are libphonenumber's, (c) The
Libphonenumber Authors, Apache License 2.0.

Columns: region (may be empty: none given), the text as a JSON string, and the E.164 form (empty: no valid number).
"""

import json
import sys

import phonenumbers
from phonenumbers import PhoneNumberFormat as Format
from phonenumbers import PhoneNumberType as Type

TYPES = [
    Type.FIXED_LINE, Type.MOBILE, Type.TOLL_FREE, Type.PREMIUM_RATE, Type.SHARED_COST,
    Type.PERSONAL_NUMBER, Type.VOIP, Type.PAGER, Type.UAN, Type.VOICEMAIL,
]
KEYPAD = {"2": "A", "3": "E", "4": "H", "5": "L", "6": "O", "7": "S", "8": "T", "9": "Y"}
NBSP, EN_DASH, ZERO_WIDTH = "\u00a0", "\u2013", "\u200b"


def full_width(text):
    return "".join(chr(ord(c) - ord("0") + 0xFF10) if c in "0123456789" else "\uff0b" if c == "+" else c for c in text)


def arabic_indic(text):
    return "".join(chr(ord(c) - ord("0") + 0x660) if c in "0123456789" else c for c in text)


def vanity(text):
    head, tail = text[:-4], text[-4:]
    return head + "".join(KEYPAD.get(c, c) for c in tail)


def abroad(region):
    """A region from which this one is dialled, and how."""
    return ("DE", "00") if region == "US" else ("US", "011")


def messy(number, region):
    """(home, text) in spellings that people and exports use; which of them a number gets depends on its turn."""
    international = phonenumbers.format_number(number, Format.INTERNATIONAL)
    national = phonenumbers.format_number(number, Format.NATIONAL)
    significant = phonenumbers.national_significant_number(number)
    e164 = phonenumbers.format_number(number, Format.E164)
    code = str(number.country_code)
    caller, idd = abroad(region)
    return [
        (region, national.replace(" ", ".").replace("-", ".")),
        (None, international.replace(" ", NBSP)),
        (None, full_width(international)),
        (region, phonenumbers.format_number(number, Format.RFC3966)),
        (caller, f"{idd} {code} {significant}"),
        (region, f"{national} ext. 123"),
        (None, f"{international} x7"),
        (None, f"+{code} (0) {significant}"),
        (region, significant),
        (region, code + significant),
        (region, vanity(national)),
        (region, f"Tel.: ({significant[:3]}) {significant[3:]}"),
        (None, e164.replace("+", "+ ") + " "),
        (region, national.replace(" ", f" {EN_DASH} ")),
        (None, f"tel:{e164};ext=45"),
        (None, f"tel:{significant};phone-context=+{code}"),
        (region, f"[{national}]/"),
        (None, f"{ZERO_WIDTH}{international}{ZERO_WIDTH}"),
        (region, arabic_indic(national)),
        (region, f"{national} / {national}"),
        (None, e164[:-1]),
        (None, e164 + "0"),
        (region, f"0{national}"),
        (region, f"{significant[:-2]} {significant[-2:]}#"),
        (None, national),
        (None, f"00{code}{significant}"),
        (region, f"{national},,12"),
        (region, f"+{e164}"),
    ]


def expected(text, region):
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return ""
    return phonenumbers.format_number(number, Format.E164) if phonenumbers.is_valid_number(number) else ""


def texts():
    turn = 0
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        seen = set()
        for kind in TYPES:
            number = phonenumbers.example_number_for_type(region, kind)
            if number is None or number.national_number in seen:
                continue
            seen.add(number.national_number)
            yield region, phonenumbers.format_number(number, Format.NATIONAL)
            yield None, phonenumbers.format_number(number, Format.INTERNATIONAL)
            if len(seen) <= 2:
                yield None, phonenumbers.format_number(number, Format.E164)
            spellings = messy(number, region)
            # The first two of a region get several; 5 has no factor in common with their count, so that all come round.
            for _ in range(4 if len(seen) <= 2 else 1):
                yield spellings[turn % len(spellings)]
                turn += 5
        invalid = phonenumbers.invalid_example_number(region)
        if invalid is not None:
            yield region, phonenumbers.format_number(invalid, Format.NATIONAL)
            yield None, phonenumbers.format_number(invalid, Format.E164)
    for code in sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS):
        number = phonenumbers.example_number_for_non_geo_entity(code)
        yield None, phonenumbers.format_number(number, Format.INTERNATIONAL)
        yield "FR", phonenumbers.format_number(number, Format.E164)
    for text in ["", " ", "n/a", "+", "0", "12", "112", "911", "call me", "1-800-FLOWERS", "(212) 555-CALL", "+1 (0) 212 555 0123"]:
        yield "US", text


def main():
    if phonenumbers.__version__ != "9.0.42":
        sys.exit(f"phonenumbers is {phonenumbers.__version__}, not 9.0.42")
    print(f"# libphonenumber {phonenumbers.__version__}, (c) The Libphonenumber Authors, Apache License 2.0; written by phone_numbers.py.")
    print("# region\ttext as JSON\tE.164, empty where it is no valid number")
    for region, text in texts():
        print("\t".join([region or "", json.dumps(text, ensure_ascii=False), expected(text, region)]))


if __name__ == "__main__":
    main()
