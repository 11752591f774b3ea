"""Check the tables: whether fields are present, types are right and links have targets."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from reprlib import Repr
from typing import Any

from drivers.nuscenes.problem import Problem
from drivers.nuscenes.reading import LARGEST_TABLE, is_number, is_text, read_json
from drivers.nuscenes.schema import TABLES, Field, Link, Numbers, OneOf, list_fields

Row = dict[str, Any]
SHOWN = Repr()  # shortens values, which may be long and deeply nested
SHOWN.maxstring = SHOWN.maxlong = SHOWN.maxother = 60
CURES = {
    "rotation": "write the quaternion as (w, x, y, z)",
    "size": "write width, length, height [m]",
    "translation": "write x, y, z [m]",
    "timestamp": "write whole microseconds since 1970",
    "visibility_token": 'write the strings "1" to "4"',
}

KINDS = {
    str: "a string",
    int: "a whole number below 1e18",
    bool: "true or false",
    list: "a list",
}


@dataclass(frozen=True, kw_only=True)
class Content:
    """The records of all tables; ``bad`` has (table, token, field) of each faulty field."""

    tables: Mapping[str, list[Row]]
    bad: Collection[tuple[str, str, str]]

    @cached_property
    def damaged(self) -> frozenset[str]:
        """The tables with a faulty field."""
        return frozenset(table for table, _, _ in self.bad)

    def rows(self, table: str, *needed: str) -> list[Row]:
        """Return the records of a table whose token and ``needed`` fields are valid."""
        if table not in self.damaged:
            return self.tables[table]
        fields = ("token", *needed)
        return [
            row
            for row in self.tables[table]
            if not any((table, _token(row), field) in self.bad for field in fields)
        ]

    def by_token(self, table: str, *needed: str) -> dict[str, Row]:
        """Return the records of :meth:`rows` by token."""
        return {row["token"]: row for row in self.rows(table, *needed)}


def read_tables(folder: Path) -> tuple[dict[str, list[Row]], list[Problem]]:
    """Return the tables in a folder such as v1.0-mini, and the problems of reading them."""
    tables: dict[str, list[Row]] = {}
    problems = []
    for table in TABLES:
        path = folder / f"{table}.json"
        what = ""
        try:
            rows = read_json(path, LARGEST_TABLE)
        except FileNotFoundError:
            rows, what = [], f"{folder.name}/{path.name} is missing"
        except ValueError as error:
            rows, what = [], f"{folder.name}/{path.name} {error}"
        if not what and (fault := describe_rows(table, rows)):
            rows, what = [], f"{folder.name}/{path.name} {fault}"
        if what:
            problems.append(Problem(table=table, what=what, cure="fetch the metadata again"))
        tables[table] = rows
    return tables, problems


def describe_rows(table: str, rows: object) -> str:
    """Explain why ``rows`` are not a table; returns "" if they may be one."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return "is no list of records"
    empty = not rows and table not in ("sample_annotation", "instance")
    return "holds no record" if empty else ""


def find_field_problems(tables: Mapping[str, list[Row]]) -> list[Problem]:
    """Return the missing fields, wrong types and duplicate tokens as problems."""
    problems: list[Problem] = []
    for table, rows in tables.items():
        counts = Counter(_token(row) for row in rows)
        for row in rows:
            problems += find_bad_fields(table, row)
        for token, count in counts.items():
            if count > 1 and token:
                what, cure = f"stands {count} times", "give each record a token of its own"
                problems.append(
                    Problem(table=table, token=token, field="token", what=what, cure=cure)
                )
    return problems


def collect(tables: Mapping[str, list[Row]], problems: list[Problem]) -> Content:
    """Return the content of tables; fields in ``problems`` are marked as bad."""
    return Content(tables=tables, bad={(p.table, p.token, p.field) for p in problems})


def find_link_problems(content: Content) -> Iterator[Problem]:
    """Yield links without a target, and boxes with more than one attribute."""
    tokens = {table: {_token(row) for row in rows} for table, rows in content.tables.items()}
    for table in content.tables:
        for field in list_fields(table):
            if not isinstance(field.rule, Link):
                continue
            known = tokens[field.rule.table]
            for row in content.rows(table, field.name):
                value = row[field.name]
                linked = value if field.kind is list else [value] if value else []
                for token in linked:
                    if token not in known:
                        yield make_problem(
                            table, row, field.name, f"{token!r} is no {field.rule.table}",
                            f"write the token of a {field.rule.table}",
                        )  # fmt: skip
    for row in content.rows("sample_annotation", "attribute_tokens"):
        if len(row["attribute_tokens"]) > 1:
            what = f"holds {len(row['attribute_tokens'])} attributes"
            yield make_problem(
                "sample_annotation", row, "attribute_tokens", what, "give at most one"
            )


def find_bad_fields(table: str, row: Row) -> Iterator[Problem]:
    """Yield the missing fields and wrong types of a record as problems."""
    for field in list_fields(table):
        if field.name not in row:
            what = "is missing" if field.required else ""
        else:
            what = _describe_fault(row[field.name], field)
        if what:
            yield Problem(
                table=table,
                token=_token(row),
                field=field.name,
                what=what,
                cure=CURES.get(field.name, "write it as the schema of nuScenes says"),
            )


def _describe_fault(value: Any, field: Field) -> str:
    """Describe the fault of a value; returns "" if there is none."""
    if isinstance(field.rule, Numbers):
        if _has_shape(value, field.rule.shape) or (field.rule.optional and value == []):
            return ""
        size = " x ".join(map(str, field.rule.shape))
        return f"is {shorten(value)}, expected {size} finite numbers below 1e18"
    if not isinstance(value, field.kind) or (field.kind is int and not is_number(value)):
        return f"is {shorten(value)}, expected {KINDS[field.kind]}"
    if isinstance(value, list) and not all(isinstance(k, str) and is_text(k) for k in value):
        return f"is {shorten(value)}, expected a list of tokens"
    if isinstance(value, str) and not is_text(value):
        return f"is {shorten(value)}, which is no text"
    if isinstance(field.rule, OneOf) and value not in field.rule.names:
        return f"is {shorten(value)}, which nuScenes does not know"
    empty = field.name == "token" or (isinstance(field.rule, Link) and not field.rule.optional)
    return "is empty" if value == "" and empty else ""


def _has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    if not shape:
        return is_number(value)
    return (
        isinstance(value, list)
        and len(value) == shape[0]
        and all(_has_shape(part, shape[1:]) for part in value)
    )


def shorten(value: object) -> str:
    """Return a value as text of at most 60 characters."""
    text = SHOWN.repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _token(row: Row) -> str:
    token = row.get("token")
    return token if isinstance(token, str) else ""


def make_problem(table: str, row: Row, field: str, what: str, cure: str) -> Problem:
    """Return a problem with a field of a record, which must have a token."""
    return Problem(table=table, token=row["token"], field=field, what=what, cure=cure)
