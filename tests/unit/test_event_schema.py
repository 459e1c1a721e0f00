"""The migrations of the event store as files: what every one of them promises."""

from __future__ import annotations

import re

import pytest

from postback.store.event_schema import MIGRATIONS

STATEMENTS = [statement for migration in MIGRATIONS for statement in migration.statements]


def test_versions_are_numbered_without_gaps() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_every_migration_begins_with_a_sentence() -> None:
    for migration in MIGRATIONS:
        assert re.match(r"-- [A-Za-z_].*\.\n", migration.statements[0]), migration.name


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.partition("(")[0][-40:])
def test_every_statement_can_be_repeated(statement: str) -> None:
    repeatable = (
        r"^(CREATE|ALTER|DROP)\b.* (IF (NOT )?EXISTS|MODIFY SETTING) |^ALTER TABLE \w+ DELETE WHERE "
        r"|^TRUNCATE TABLE |^INSERT INTO \w+\sSELECT\s"  # equal rows collapse, or the table was emptied before
    )
    assert re.search(repeatable, statement, re.MULTILINE)


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.partition("(")[0][-40:])
def test_a_statement_is_one_statement(statement: str) -> None:
    assert len(re.findall(r"^(CREATE|ALTER|DROP|INSERT|RENAME|TRUNCATE)\b", statement, re.MULTILINE)) == 1
