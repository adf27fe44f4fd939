"""What the fork server of a sweep imports once, so that a job starts in milliseconds, not in the seconds that torch takes.

Each entry point that sweeps has a module of the name of its config; for any other config there is `task`. The entry point
itself is not imported there: each job runs it as its main module, and runpy warns of one that is there already.
"""
