#!/usr/bin/env python3
"""Writes numbering_plans.tsv: the part of libphonenumber's metadata that says which digits are whose number.

    pip install phonenumbers==9.0.42      # the metadata that rlibphonenumber 2.2.15 carries
    python3 numbering_plans.py > numbering_plans.tsv

Run by hand when rlibphonenumber changes; `cargo test` in plugins/ then says whether both still agree.
The metadata is libphonenumber's, (c) The Libphonenumber Authors, Apache License 2.0.
"""

import sys

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.phonemetadata import PhoneMetadata

TYPES = [
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost",
    "personal_number", "voip", "pager", "uan", "voicemail",
]


def lengths(values):
    return ",".join(str(value) for value in values)


def row(code, region, plan):
    general = plan.general_desc
    kinds = []
    for name in TYPES:
        kind = getattr(plan, name)
        if kind is not None and kind.national_number_pattern and tuple(kind.possible_length) != (-1,):
            kinds.append(f"{lengths(kind.possible_length)}={kind.national_number_pattern}")
    cells = [
        region,
        str(code),
        plan.international_prefix or "",
        plan.national_prefix_for_parsing or "",
        plan.national_prefix_transform_rule or "",
        plan.leading_digits or "",
        lengths(general.possible_length),
        lengths(general.possible_length_local_only),
        general.national_number_pattern or "",
    ]
    return "\t".join(cells + kinds)


def main():
    if phonenumbers.__version__ != "9.0.42":
        sys.exit(f"phonenumbers is {phonenumbers.__version__}, not 9.0.42")
    print(f"# libphonenumber {phonenumbers.__version__}, (c) The Libphonenumber Authors, Apache License 2.0.")
    print("# Written by numbering_plans.py; the first region of a code is its main one. Columns:")
    print("# region code idd-prefix national-prefix transform leading-digits lengths local-lengths general (lengths=type)...")
    for code in sorted(COUNTRY_CODE_TO_REGION_CODE):
        for region in COUNTRY_CODE_TO_REGION_CODE[code]:
            if region == "001":
                plan = PhoneMetadata.metadata_for_nongeo_region(code)
            else:
                plan = PhoneMetadata.metadata_for_region(region)
            print(row(code, region, plan))


if __name__ == "__main__":
    main()
