"""Rendering and splitting SQL scripts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.account.scripts import render, split_statements
from cxr.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


def test_settings_fill_the_template():
    assert render("USE <% database %>.<%schema%>", Settings()) == "USE MEDICAL_IMAGES.CHEST_XRAY"


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="databse"):
        render("<% databse %>", Settings())


def test_a_value_that_could_end_its_literal_is_rejected():
    with pytest.raises(ValueError, match="data="):
        render("ARGUMENTS = ('<% data %>')", Settings(data="@S/x'); DROP DATABASE D; --"))


def test_semicolons_in_quotes_bodies_and_comments_do_not_end_a_statement():
    script = """
    -- first; a comment
    CREATE TABLE "a;b" (X STRING COMMENT 'one; two -- three');  -- after; it
    CREATE FUNCTION F() RETURNS STRING LANGUAGE PYTHON AS $$
    return "x;y"  # -- not a comment of SQL
    $$;
    SELECT 1 - -1, 'it''s;'
    """
    first, second, third = split_statements(script)
    assert first == """CREATE TABLE "a;b" (X STRING COMMENT 'one; two -- three')"""
    assert second.startswith("CREATE FUNCTION") and second.endswith("$$") and "x;y" in second
    assert third == "SELECT 1 - -1, 'it''s;'"


@given(st.lists(st.sampled_from(["SELECT 1", "SELECT ';'", 'SELECT "a;"', "SELECT $$;$$", "SELECT 2 - 1"]), min_size=1))
def test_split_statements_undoes_joining(statements):
    assert split_statements(";\n".join(statements)) == statements


@pytest.mark.parametrize("path", sorted((ROOT / "sql").glob("*.sql")), ids=lambda path: path.name)
def test_every_script_renders_completely(path):
    for statement in split_statements(path.read_text()):
        assert "<%" not in render(statement, Settings())
