"""What schemathesis cannot know: the names of what is there, and what an exported file looks like."""

import itertools
import json
import pathlib

import schemathesis

THERE = json.loads(pathlib.Path("there.json").read_text())
EXPORTED = pathlib.Path("run.ndjson").read_bytes()

turns = {kind: itertools.cycle(names) for kind, names in THERE.items()}
count = itertools.count()


def kind_of(path, name):
    """Which of the names fits a part of this path."""
    if name == "name":
        return path.split("/")[3]
    return {"id": "runs", "version": "versions", "token": "tokens"}[name]


@schemathesis.hook
def before_call(context, case, kwargs):
    """Most calls go to something that is there."""
    if next(count) % 6 == 0:
        return
    for name in list(case.path_parameters or {}):
        case.path_parameters[name] = next(turns[kind_of(case.path, name)])


@schemathesis.serializer("application/x-ndjson")
def exported(context, value):
    """Every other file is one that can be read to its end."""
    # What is not a text is meant to be wrong.
    if isinstance(value, str) and next(count) % 2:
        return EXPORTED
    return str(value).encode("utf-8", "surrogatepass")
