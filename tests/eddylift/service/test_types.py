"""The client's types have and document what the service answers."""

from __future__ import annotations

import inspect
from typing import ClassVar, get_args, get_origin, get_type_hints

import pytest

import eddylift
from eddylift._record import Record
from service.api import schemas

RECORDS = [kind for kind in vars(eddylift).values() if isinstance(kind, type) and issubclass(kind, Record)]
SCHEMAS: dict[type[Record], str] = {eddylift.JobStatus: "Job", eddylift.StoredVolume: "Volume"}
METHODS = {"keys"}  # of every dict


@pytest.mark.parametrize("kind", RECORDS)
def test_members(kind: type[Record]) -> None:
    fields = getattr(schemas, SCHEMAS.get(kind, kind.__name__)).model_fields
    hints, documentation = get_type_hints(kind), inspect.getdoc(kind) or ""
    members = {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}
    assert members.keys() == fields.keys() - METHODS
    for name, annotation in members.items():
        assert f"    {name}: " in documentation, name
        assert (type(None) in get_args(annotation)) == (type(None) in get_args(fields[name].annotation)), name
