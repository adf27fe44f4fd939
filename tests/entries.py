"""Entries of results that were never measured."""

from lmc_lab.analyses.row_file import Entry


def entry(**changes):
    content = {
        "analysis": "convex_mode", "settings": {}, "subject": (), "records": None, "created": 1, "seconds": 1.0,
        "command": "", "versions": {}, "config": {},
    }  # fmt: skip
    return Entry(**(content | changes))
