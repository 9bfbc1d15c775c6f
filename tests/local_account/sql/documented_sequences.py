# ruff: noqa: E501
"""Documented outcomes of statements one after the other, for test_functions.py."""

import datetime as dt
from decimal import Decimal

SEQUENCES = {
    # statements one after the other -> the rows of the last one
    (
        "CREATE TABLE T (S VARCHAR(134217728), B BINARY(67108864))",
        "INSERT INTO T SELECT REPEAT('a', 16777217), TO_BINARY(REPEAT('ab', 8388609))",
        "SELECT LENGTH(S), LENGTH(B) FROM T",
    ): [(16777217, 8388609)],
    ("CREATE TABLE T (A INT)", "ALTER TABLE T DROP COLUMN IF EXISTS B", "SELECT * FROM T"): [],
    ("CREATE TABLE T (A INT)", "INSERT INTO T VALUES (2.5)", "SELECT * FROM T"): [(3,)],
    (
        "CREATE TABLE T AS SELECT 1 A UNION SELECT 2",
        "INSERT OVERWRITE INTO T SELECT A + 9 FROM T WHERE A = 1",
        "SELECT * FROM T",
    ): [(10,)],
    (
        "CREATE TABLE T AS SELECT FL, N, 0 A FROM ONE",
        "UPDATE T SET A = FL::INT, N = N / 3 WHERE N / 5 = 2.5",
        "SELECT A, N FROM T",
    ): [(3, Decimal("4.17"))],
    (
        "CREATE TABLE T AS SELECT FL FROM ONE",
        "DELETE FROM T USING ONE U WHERE T.FL::INT = 3 AND U.A / 2 = 0.5",
        "SELECT * FROM T",
    ): [],
    (
        "CREATE TABLE T AS SELECT A, N FROM ONE",
        "MERGE INTO T USING ONE U ON T.A = U.A WHEN MATCHED THEN UPDATE SET A = U.FL::INT, N = U.N / 3",
        "SELECT * FROM T",
    ): [(3, Decimal("4.17"))],
    ("CREATE TABLE T (A INT)", "SHOW COLUMNS IN TABLE T"): [
        ("T", "PUBLIC", "A", '{"type":"FIXED","precision":38,"scale":0,"nullable":true}', "true", "TEST_FUNCTIONS")
    ],
    ("CREATE TABLE T (S STRING NOT NULL)", "SHOW COLUMNS IN TABLE T"): [
        (
            "T",
            "PUBLIC",
            "S",
            '{"type":"TEXT","length":16777216,"byteLength":16777216,"nullable":false,"fixed":false}',
            "false",
            "TEST_FUNCTIONS",
        )
    ],
    (
        "CREATE TABLE T (A INT NOT NULL DEFAULT 3, S STRING)",
        "CREATE TABLE U LIKE T",
        "INSERT INTO U (S) VALUES ('x')",
        "SELECT * FROM U",
    ): [(3, "x")],
    (
        "CREATE TABLE T (A INT DEFAULT 3, S STRING) ",
        "INSERT INTO T VALUES (1, 'y')",
        "CREATE TABLE U CLONE T",
        "INSERT INTO U (S) VALUES ('x')",
        "SELECT * FROM U ORDER BY A",
    ): [(1, "y"), (3, "x")],
    (
        "CREATE TABLE T (A INT)",
        "ALTER TABLE T ADD COLUMN N STRING DEFAULT 'NOT NULL'",
        "INSERT INTO T (A) VALUES (1)",
        "SELECT N FROM T",
    ): [("NOT NULL",)],
    # values are converted to their columns' types
    ("CREATE TABLE T (A INT)", "INSERT INTO T SELECT 2.5::FLOAT", "SELECT * FROM T"): [(3,)],
    ("CREATE TABLE T (A INT) AS SELECT 2.5::FLOAT", "UPDATE T SET A = 4.5::FLOAT", "SELECT * FROM T"): [(5,)],
    (
        "CREATE TABLE T (S STRING)",
        "INSERT INTO T SELECT 1.0::FLOAT UNION ALL SELECT 2.5::FLOAT",
        "INSERT INTO T SELECT TS FROM ONE",
        "INSERT INTO T SELECT V:s FROM ONE",
        "INSERT INTO T VALUES ('2024-01-02'::DATE)",
        "SELECT * FROM T ORDER BY S",
    ): [("1",), ("2.5",), ("2024-01-02",), ("2024-01-31 10:00:00.000",), ("str",)],
    ("CREATE TABLE T (B BINARY)", "INSERT INTO T SELECT '4142'", "SELECT B::STRING FROM T"): [("4142",)],
    ("CREATE TABLE T (B BINARY)", "INSERT INTO T VALUES ('4142')", "SELECT B::STRING FROM T"): [("4142",)],
    (
        "CREATE TABLE T (D DATE, TS TIMESTAMP)",
        "INSERT INTO T VALUES ('01/05/2024', '1700000000000')",
        "MERGE INTO T USING (SELECT '5-JAN-2024'::DATE A, '01/06/2024' B) U ON T.D = U.A WHEN MATCHED THEN UPDATE SET D = U.B",
        "SELECT * FROM T",
    ): [(dt.date(2024, 1, 6), dt.datetime(2023, 11, 14, 22, 13, 20))],
    # what a column's type says
    (
        "CREATE TABLE T (S VARCHAR(3) NOT NULL, C CHAR, A ARRAY, O OBJECT, V VARIANT)",
        "ALTER TABLE T ADD COLUMN X STRING(2) DEFAULT 'xy' COMMENT 'more'",
        "ALTER TABLE T RENAME COLUMN S TO R",
        "CREATE TABLE U LIKE T",
        "DESCRIBE TABLE U",
    ): [
        ("R", "VARCHAR(3)", "COLUMN", "N", None),
        ("C", "VARCHAR(1)", "COLUMN", "Y", None),
        ("A", "ARRAY", "COLUMN", "Y", None),
        ("O", "OBJECT", "COLUMN", "Y", None),
        ("V", "VARIANT", "COLUMN", "Y", None),
        ("X", "VARCHAR(2)", "COLUMN", "Y", "'xy'"),
    ],
    (
        "CREATE OR REPLACE VIEW ONE_VIEW AS SELECT A FROM ONE",
        "SELECT TABLE_NAME, VIEW_DEFINITION FROM INFORMATION_SCHEMA.VIEWS",
    ): [("ONE_VIEW", "SELECT A FROM ONE")],
    (
        "CREATE TABLE T (A INT COMMENT 'one', S VARCHAR(3))",
        "INSERT INTO T VALUES (1, 'abc')",
        "ALTER TABLE T ADD COLUMN X VARCHAR(2) NOT NULL DEFAULT 'xy'",
        "SELECT T.*, COMMENT FROM T, INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'T' AND COLUMN_NAME = 'A'",
    ): [(1, "abc", "xy", "one")],
    (
        "CREATE TABLE T AS SELECT NULL AS N, ARRAY_CONSTRUCT(1) AS A, 1 AS I",
        "INSERT INTO T SELECT 'x', [], 3000000000",
        "SELECT COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'T' ORDER BY 1",
    ): [("A", "ARRAY"), ("I", "NUMBER"), ("N", "TEXT")],
    (
        "CREATE TABLE T (S VARCHAR(3)) AS SELECT 'a'",
        "CREATE OR REPLACE TABLE T (S VARCHAR(2), A INT DEFAULT 4) AS SELECT S, 1 FROM T",
        "INSERT INTO T (S) VALUES ('b')",
        "SELECT * FROM T",
    ): [("a", 1), ("b", 4)],
}
