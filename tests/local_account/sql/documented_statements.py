# ruff: noqa: E501
"""Documented answers of Snowflake to whole queries, held against the account by test_functions.py."""

import datetime as dt
from decimal import Decimal

STATEMENTS = {
    "SELECT COUNT(X, Y), COUNT(DISTINCT X, Y) FROM VALUES ('a', 1), ('a', NULL), (NULL, 2), ('a', 1) AS T(X, Y)": [
        (2, 1)
    ],
    "SELECT * FROM (SELECT 1 AS A, 2 AS A)": [(1, 2)],
    "SELECT CURRENT_DATE, CURRENT_TIMESTAMP IS NULL FROM ONE WHERE CURRENT_DATE < '2020-01-01'": [],
    "SELECT IFF(TRUE, 'if(x', 'LIMIT 1, 2')": [("if(x",)],
    "SELECT COLUMN_NAME, NUMERIC_PRECISION, NUMERIC_SCALE, CHARACTER_MAXIMUM_LENGTH FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'ONE' AND COLUMN_NAME IN ('A', 'N', 'S') ORDER BY 1": [
        ("A", 38, 0, None),
        ("N", 10, 2, None),
        ("S", None, None, 16777216),
    ],
    "SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA ORDER BY 1": [("INFORMATION_SCHEMA",), ("PUBLIC",)],
    "SELECT COUNT(DISTINCT U), MIN(U), MAX(U) FROM (SELECT UNIFORM(1, 3, RANDOM()) AS U FROM TABLE(GENERATOR(ROWCOUNT => 200)))": [
        (3, 1, 3)
    ],
    "SELECT * FROM VALUES (2, 'b'), (1, 'z'), (1, 'a') AS T(X, Y) ORDER BY ALL": [(1, "a"), (1, "z"), (2, "b")],
    "SELECT * FROM VALUES (2, 'b'), (1, 'z') AS T(X, Y) ORDER BY ALL DESC": [(2, "b"), (1, "z")],
    "SELECT X, COUNT(*) FROM VALUES (2), (1), (1) AS T(X) GROUP BY ALL ORDER BY ALL": [(1, 2), (2, 1)],
    "SELECT *, 1 FROM (SELECT 'a' AS P, 7 AS K) JOIN (SELECT 7 AS K, 'b' AS Q) USING (K)": [(7, "a", "b", 1)],
    "SELECT TO_CHAR(T, 'HH24:MI') FROM (SELECT TO_TIMESTAMP(X) AS T FROM VALUES ('2024-01-02 03:04:05') AS V(X))": [
        ("03:04",)
    ],
    "SELECT TO_CHAR(D, 'YYYY') FROM (SELECT MIN(DD) AS D FROM ONE)": [("2024",)],
    "SELECT TO_TIME(X) FROM VALUES ('10:11:12') AS T(X)": [(dt.time(10, 11, 12),)],
    "SELECT F.INDEX, F.VALUE::INT FROM ONE, LATERAL FLATTEN(V:l) F ORDER BY 1": [(0, 1), (1, 2), (2, 3)],
    "SELECT F.* FROM ONE, LATERAL FLATTEN(V:l) F ORDER BY INDEX": [
        (1, None, "[0]", 0, "1", "[\n  1,\n  2,\n  3\n]"),
        (1, None, "[1]", 1, "2", "[\n  1,\n  2,\n  3\n]"),
        (1, None, "[2]", 2, "3", "[\n  1,\n  2,\n  3\n]"),
    ],
    "SELECT F.KEY, F.VALUE FROM ONE, LATERAL FLATTEN(V) F": [
        ("a", "1"),
        ("f", "1.5"),
        ("l", "[\n  1,\n  2,\n  3\n]"),
        ("n", "null"),
        ("o", '{\n  "b": true,\n  "z": 1\n}'),
        ("s", '"str"'),
    ],
    "SELECT F.KEY, F.VALUE FROM ONE, LATERAL FLATTEN(INPUT => V, PATH => 'o') F": [("b", "true"), ("z", "1")],
    "SELECT A, F.VALUE FROM ONE, LATERAL FLATTEN(INPUT => V:x, OUTER => TRUE) F": [(1, None)],
    "SELECT A, F.VALUE FROM ONE, LATERAL FLATTEN(INPUT => V:x) F": [],
    "SELECT VALUE FROM TABLE(FLATTEN(PARSE_JSON('[1,null,\"a\"]')))": [("1",), ("null",), ('"a"',)],
    'SELECT KEY, PATH, INDEX, VALUE FROM TABLE(FLATTEN(INPUT => PARSE_JSON(\'{"a":1,"b":[1,2]}\'), RECURSIVE => TRUE))': [
        ("a", "a", None, "1"),
        ("b", "b", None, "[\n  1,\n  2\n]"),
        (None, "b[0]", 0, "1"),
        (None, "b[1]", 1, "2"),
    ],
    "SELECT OBJECT_AGG(K, V) FROM VALUES ('b', 1), ('a', 2), ('c', NULL) AS T(K, V)": [('{\n  "a": 2,\n  "b": 1\n}',)],
    "SELECT ARRAY_AGG(X) FROM VALUES (3), (1), (NULL) AS T(X)": [("[\n  3,\n  1\n]",)],
    "SELECT ARRAY_AGG(X) WITHIN GROUP (ORDER BY X) FROM VALUES (3), (1) AS T(X)": [("[\n  1,\n  3\n]",)],
    "SELECT ARRAY_AGG(DISTINCT X) WITHIN GROUP (ORDER BY X) FROM VALUES (3), (1), (1) AS T(X)": [("[\n  1,\n  3\n]",)],
    "SELECT ARRAY_AGG(X) FROM (SELECT 1 AS X WHERE FALSE)": [("[]",)],
    "SELECT V:a, COUNT(*) FROM ONE GROUP BY V:a": [("1", 1)],
    "SELECT V:a::INT AS Q, COUNT(*) FROM ONE GROUP BY Q ORDER BY Q": [(1, 1)],
    "SELECT SUM(X), AVG(X), MIN(X), MAX(X), COUNT(X), COUNT(*) FROM VALUES (1), (2), (NULL) AS T(X)": [
        (3, Decimal("1.500000"), 1, 2, 2, 3)
    ],
    "SELECT SUM(X), AVG(X) FROM VALUES (1.5), (2.25) AS T(X)": [(Decimal("3.75"), Decimal("1.87500000"))],
    "SELECT SUM(X), AVG(X) FROM VALUES (1.5::FLOAT), (2) AS T(X)": [(3.5, 1.75)],
    "SELECT SUM(X), AVG(X), MAX(X), COUNT(X) FROM (SELECT 1 AS X WHERE FALSE)": [(None, None, None, 0)],
    "SELECT MEDIAN(X) FROM VALUES (1), (2) AS T(X)": [(Decimal("1.500"),)],
    "SELECT MEDIAN(X) FROM VALUES (1), (2), (4) AS T(X)": [(Decimal("2.000"),)],
    "SELECT MEDIAN(X) FROM VALUES (1.5), (2.5) AS T(X)": [(Decimal("2.0000"),)],
    "SELECT MEDIAN(X) FROM VALUES (1.5::FLOAT), (2.5::FLOAT) AS T(X)": [(2.0,)],
    "SELECT PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY X) FROM VALUES (1), (2), (3) AS T(X)": [(Decimal("1.500"),)],
    "SELECT PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY X) FROM VALUES (1), (2), (3) AS T(X)": [(2,)],
    "SELECT STDDEV(X), STDDEV_POP(X), STDDEV_SAMP(X), VARIANCE(X), VAR_POP(X), VAR_SAMP(X) FROM VALUES (1), (2), (4) AS T(X)": [
        (
            1.5275251225429978,
            1.2472193070987956,
            1.5275251225429978,
            Decimal("2.333333"),
            Decimal("1.555556"),
            Decimal("2.333333"),
        )
    ],
    "SELECT STDDEV(X), VARIANCE(X), STDDEV_POP(X) FROM VALUES (1) AS T(X)": [(None, None, 0.0)],
    "SELECT CORR(X, Y), COVAR_POP(X, Y), COVAR_SAMP(X, Y) FROM VALUES (1, 2), (2, 4), (3, 7) AS T(X, Y)": [
        (0.9933992677987827, 1.6666666666666667, 2.5)
    ],
    "SELECT MODE(X) FROM VALUES (1), (1), (2) AS T(X)": [(1,)],
    "SELECT ANY_VALUE(X) FROM VALUES (1), (1) AS T(X)": [(1,)],
    "SELECT MIN_BY(X, Y), MAX_BY(X, Y) FROM VALUES ('a', 1), ('b', 2) AS T(X, Y)": [("a", "b")],
    "SELECT COUNT(DISTINCT X) FROM VALUES (1), (1), (NULL) AS T(X)": [(1,)],
    "SELECT COUNT(DISTINCT X, Y) FROM VALUES (1, 1), (1, 1), (1, NULL) AS T(X, Y)": [(1,)],
    "SELECT COUNT_IF(X > 1) FROM VALUES (1), (2), (NULL) AS T(X)": [(1,)],
    "SELECT APPROX_COUNT_DISTINCT(X) FROM VALUES (1), (2), (2) AS T(X)": [(2,)],
    "SELECT APPROX_PERCENTILE(X, 0.5) FROM VALUES (1), (2), (3) AS T(X)": [(2.0,)],
    "SELECT BITAND_AGG(X), BITOR_AGG(X), BITXOR_AGG(X) FROM VALUES (6), (3) AS T(X)": [(2, 7, 5)],
    "SELECT LISTAGG(X, ',') WITHIN GROUP (ORDER BY X) FROM VALUES ('b'), (NULL), ('a') AS T(X)": [("a,b",)],
    "SELECT LISTAGG(X) WITHIN GROUP (ORDER BY X DESC) FROM VALUES ('b'), ('a') AS T(X)": [("ba",)],
    "SELECT LISTAGG(DISTINCT X, '|') WITHIN GROUP (ORDER BY X) FROM VALUES ('b'), ('a'), ('a') AS T(X)": [("a|b",)],
    "SELECT LISTAGG(X, ',') FROM (SELECT 'a' AS X WHERE FALSE)": [("",)],
    "SELECT LISTAGG(X, ',') WITHIN GROUP (ORDER BY X) FROM VALUES (NULL::STRING) AS T(X)": [("",)],
    "SELECT LISTAGG(X, ', ') WITHIN GROUP (ORDER BY X) FROM VALUES (2), (1) AS T(X)": [("1, 2",)],
    "SELECT SUM(X) OVER (ORDER BY X) FROM VALUES (1), (2), (2), (3) AS T(X) ORDER BY X": [(1,), (5,), (5,), (8,)],
    "SELECT X, SUM(X) OVER (ORDER BY X ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM VALUES (1), (2), (3) AS T(X) ORDER BY X": [
        (1, 1),
        (2, 3),
        (3, 5),
    ],
    "SELECT X, FIRST_VALUE(X) OVER (ORDER BY X), LAST_VALUE(X) OVER (ORDER BY X), NTH_VALUE(X, 2) OVER (ORDER BY X) FROM VALUES (1), (2), (3) AS T(X) ORDER BY X": [
        (1, 1, 3, 2),
        (2, 1, 3, 2),
        (3, 1, 3, 2),
    ],
    "SELECT X, FIRST_VALUE(X) IGNORE NULLS OVER (ORDER BY X DESC) FROM VALUES (1), (2), (NULL) AS T(X) ORDER BY X": [
        (1, 2),
        (2, 2),
        (None, 2),
    ],
    "SELECT X, LAG(X) OVER (ORDER BY X), LEAD(X, 1, 0) OVER (ORDER BY X), LAG(X, 2, -1) OVER (ORDER BY X) FROM VALUES (1), (2), (3) AS T(X) ORDER BY X": [
        (1, None, 2, -1),
        (2, 1, 3, -1),
        (3, 2, 0, 1),
    ],
    "SELECT X, ROW_NUMBER() OVER (ORDER BY X DESC), RANK() OVER (ORDER BY Y), DENSE_RANK() OVER (ORDER BY Y), PERCENT_RANK() OVER (ORDER BY Y), CUME_DIST() OVER (ORDER BY Y), NTILE(2) OVER (ORDER BY X) FROM VALUES (1, 1), (2, 1), (3, 2) AS T(X, Y) ORDER BY X": [
        (1, 3, 1, 1, 0.0, 0.6666666666666666, 1),
        (2, 2, 1, 1, 0.0, 0.6666666666666666, 1),
        (3, 1, 3, 2, 1.0, 1.0, 2),
    ],
    "SELECT X, COUNT(*) OVER (PARTITION BY Y), AVG(X) OVER (PARTITION BY Y), MEDIAN(X) OVER (PARTITION BY Y), STDDEV(X) OVER () FROM VALUES (1, 1), (2, 1), (4, 2) AS T(X, Y) ORDER BY X": [
        (1, 2, Decimal("1.500"), Decimal("1.500"), 1.5275251225429978),
        (2, 2, Decimal("1.500"), Decimal("1.500"), 1.5275251225429978),
        (4, 1, Decimal("4.000"), Decimal("4.000"), 1.5275251225429978),
    ],
    "SELECT X, SUM(X) OVER (PARTITION BY Y ORDER BY X) / SUM(X) OVER (PARTITION BY Y) FROM VALUES (1, 1), (2, 1) AS T(X, Y) ORDER BY X": [
        (1, Decimal("0.333333")),
        (2, Decimal("1.000000")),
    ],
    "SELECT X FROM VALUES (1), (2) AS T(X) QUALIFY ROW_NUMBER() OVER (ORDER BY X DESC) = 1": [(2,)],
    "SELECT X, ROW_NUMBER() OVER (ORDER BY X DESC) AS RN FROM VALUES (1), (2) AS T(X) QUALIFY RN = 1": [(2, 1)],
    "SELECT Y, SUM(X) FROM VALUES (1, 'a'), (2, 'a') AS T(X, Y) GROUP BY ALL": [("a", 3)],
    "SELECT Y, SUM(X) FROM VALUES (1, 'a'), (2, 'b') AS T(X, Y) GROUP BY ROLLUP (Y) ORDER BY Y": [
        ("a", 1),
        ("b", 2),
        (None, 3),
    ],
    "SELECT Y, Z, SUM(X) FROM VALUES (1, 'a', 'p'), (2, 'b', 'p') AS T(X, Y, Z) GROUP BY CUBE (Y, Z) ORDER BY 1, 2": [
        ("a", "p", 1),
        ("a", None, 1),
        ("b", "p", 2),
        ("b", None, 2),
        (None, "p", 3),
        (None, None, 3),
    ],
    "SELECT Y, GROUPING(Y), SUM(X) FROM VALUES (1, 'a'), (2, 'b') AS T(X, Y) GROUP BY GROUPING SETS ((Y), ()) ORDER BY Y": [
        ("a", 0, 1),
        ("b", 0, 2),
        (None, 1, 3),
    ],
    "SELECT Y, SUM(X) AS S FROM VALUES (1, 'a'), (2, 'b') AS T(X, Y) GROUP BY 1 HAVING S > 1": [("b", 2)],
    "SELECT * FROM (SELECT 'a' K, 1 V UNION ALL SELECT 'b', 2) PIVOT(SUM(V) FOR K IN ('a', 'b'))": [(1, 2)],
    "SELECT * FROM (SELECT 1 ID, 'a' K, 1 V UNION ALL SELECT 1, 'b', 2) PIVOT(SUM(V) FOR K IN ('a', 'b')) AS P (ID, A, B)": [
        (1, 1, 2)
    ],
    "SELECT * FROM (SELECT 1 ID, 10 A, 20 B, NULL::INT C) UNPIVOT(V FOR K IN (A, B, C)) ORDER BY K": [
        (1, "A", 10),
        (1, "B", 20),
    ],
    "SELECT X FROM VALUES (2), (NULL), (1) AS T(X) ORDER BY X": [(1,), (2,), (None,)],
    "SELECT X FROM VALUES (2), (NULL), (1) AS T(X) ORDER BY X DESC": [(None,), (2,), (1,)],
    "SELECT X FROM VALUES (2), (NULL), (1) AS T(X) ORDER BY X NULLS FIRST": [(None,), (1,), (2,)],
    "SELECT X FROM VALUES (2), (1), (3) AS T(X) ORDER BY X LIMIT 1 OFFSET 1": [(2,)],
    "SELECT TOP 1 X FROM VALUES (2), (1) AS T(X) ORDER BY X": [(1,)],
    "SELECT X FROM VALUES (2), (1) AS T(X) ORDER BY X FETCH FIRST 1 ROWS ONLY": [(1,)],
    "SELECT 1 AS A UNION SELECT 1 UNION ALL SELECT 2 ORDER BY A": [(1,), (2,)],
    "SELECT 1 AS A UNION ALL SELECT 2.5 ORDER BY A": [(Decimal("1.0"),), (Decimal("2.5"),)],
    "SELECT 1 INTERSECT SELECT 1": [(1,)],
    "SELECT 1 EXCEPT SELECT 2": [(1,)],
    "SELECT 1 MINUS SELECT 2": [(1,)],
    "SELECT A.X, B.Y FROM (SELECT 1 X) A LEFT JOIN (SELECT 2 X, 3 Y) B ON A.X = B.X": [(1, None)],
    "SELECT * FROM (SELECT 1 X, 2 Y) A JOIN (SELECT 1 X, 3 Z) B USING (X)": [(1, 2, 3)],
    "SELECT * FROM (SELECT 1 X, 2 Y) A NATURAL JOIN (SELECT 1 X, 3 Z) B": [(1, 2, 3)],
    "SELECT * FROM (SELECT 1 X) A FULL OUTER JOIN (SELECT 2 Y) B ON A.X = B.Y ORDER BY 1": [(1, None), (None, 2)],
    "SELECT * FROM (SELECT 1 X) A CROSS JOIN (SELECT 2 Y) B": [(1, 2)],
    "SELECT * FROM (SELECT 1 X) A, (SELECT 2 Y) B": [(1, 2)],
    "SELECT X FROM VALUES (1), (2) AS T(X) WHERE X IN (SELECT 2)": [(2,)],
    "SELECT X FROM VALUES (1), (2) AS T(X) WHERE X NOT IN (SELECT NULL::INT)": [],
    "SELECT X FROM VALUES (1), (2) AS T(X) WHERE EXISTS (SELECT 1 FROM VALUES (2) AS U(Y) WHERE Y = X)": [(2,)],
    "SELECT (SELECT MAX(Y) FROM VALUES (5) AS U(Y))": [(5,)],
    "SELECT X, (SELECT COUNT(*) FROM VALUES (1), (2) AS U(Y) WHERE Y <= X) FROM VALUES (1), (2) AS T(X) ORDER BY X": [
        (1, 1),
        (2, 2),
    ],
    "WITH A AS (SELECT 1 X), B AS (SELECT X + 1 AS Y FROM A) SELECT * FROM B": [(2,)],
    "WITH RECURSIVE R AS (SELECT 1 N UNION ALL SELECT N + 1 FROM R WHERE N < 3) SELECT SUM(N) FROM R": [(6,)],
    "WITH R (N) AS (SELECT 1 UNION ALL SELECT N + 1 FROM R WHERE N < 3) SELECT * FROM R ORDER BY 1": [(1,), (2,), (3,)],
    "SELECT COUNT(*) FROM TABLE(GENERATOR(ROWCOUNT => 3))": [(3,)],
    "SELECT ROW_NUMBER() OVER (ORDER BY SEQ4()) FROM TABLE(GENERATOR(ROWCOUNT => 2)) ORDER BY 1": [(1,), (2,)],
    "SELECT $1, $2 FROM VALUES (1, 'a')": [(1, "a")],
    "SELECT COLUMN1 FROM VALUES (1)": [(1,)],
    "SELECT * EXCLUDE (V, TS, DD, N, FL, NS, NI, B) FROM ONE": [(1, "Hello")],
    "SELECT * EXCLUDE V RENAME (A AS Q) FROM (SELECT A, V FROM ONE)": [(1,)],
    "SELECT * REPLACE (A + 1 AS A) FROM (SELECT A, S FROM ONE)": [(2, "Hello")],
    "SELECT * ILIKE 'f%' FROM ONE": [(2.5,)],
    "SELECT A + 1 AS Q FROM ONE WHERE Q = 2": [(2,)],
    "SELECT A AS Q, Q + 1 AS Z FROM ONE": [(1, 2)],
    "SELECT A FROM ONE WHERE B": [(1,)],
    "SELECT DISTINCT X FROM VALUES (1), (1) AS T(X)": [(1,)],
    "SELECT X, COUNT(*) C FROM VALUES (1), (1) AS T(X) GROUP BY X ORDER BY C DESC": [(1, 2)],
    "SELECT 1 + 1, 'a' || 'b', COUNT(*) FROM ONE": [(2, "ab", 1)],
    'SELECT a, "A" FROM one': [(1, 1)],
    "SELECT A, CASE WHEN A = 1 THEN 1.5 ELSE 2 END FROM ONE": [(1, Decimal("1.5"))],
    "SELECT SUM(IFF(X > 1, 1, 0)) / COUNT(*) FROM VALUES (1), (2), (3) AS T(X)": [(Decimal("0.666667"),)],
    "SELECT SUM(X)::FLOAT / COUNT(*) FROM VALUES (1), (2) AS T(X)": [(1.5,)],
    "SELECT ROUND(AVG(X), 2), ROUND(SUM(X) / COUNT(*), 2) FROM VALUES (1), (2), (2) AS T(X)": [
        (Decimal("1.67"), Decimal("1.67"))
    ],
    "SELECT ROUND(100 * SUM(IFF(X > 1, 1, 0)) / COUNT(*), 1) FROM VALUES (1), (2), (3) AS T(X)": [(Decimal("66.7"),)],
    "SELECT AVG(IFF(X > 1, 1, 0)) FROM VALUES (1), (2), (3) AS T(X)": [(Decimal("0.666667"),)],
    "SELECT SUM(B::INT), AVG(B::INT) FROM ONE": [(1, Decimal("1.000000"))],
    "SELECT AVG(X) / 2 FROM VALUES (1), (2) AS T(X)": [(Decimal("0.750000000000"),)],
    "SELECT Q / 3 FROM (SELECT COUNT(*) AS Q FROM ONE)": [(Decimal("0.333333"),)],
    "SELECT Q.X / 4 FROM (SELECT SUM(A) AS X FROM ONE) Q": [(Decimal("0.250000"),)],
    "WITH C AS (SELECT A AS X FROM ONE) SELECT X / 3 FROM C": [(Decimal("0.333333"),)],
    "SELECT MAX(X) - MIN(X), MAX(X) / 2 FROM VALUES (1), (5) AS T(X)": [(4, Decimal("2.500000"))],
    "SELECT GREATEST(A, 3) / 2, ABS(A) / 3, ROUND(A / 3, 2), COALESCE(NI, 1) / 3, CASE WHEN TRUE THEN 1 END / 3, NVL(NI, 2) / 3, (A + 1) / 3, -A / 3, LENGTH(S) / 2, DATEDIFF(day, DD, DD + 5) / 2 FROM ONE": [
        (
            Decimal("1.500000"),
            Decimal("0.333333"),
            Decimal("0.33"),
            Decimal("0.333333"),
            Decimal("0.333333"),
            Decimal("0.666667"),
            Decimal("0.666667"),
            Decimal("-0.333333"),
            Decimal("2.500000"),
            Decimal("2.500000"),
        )
    ],
    "SELECT X / Y FROM (SELECT 1 AS X, 3 AS Y UNION ALL SELECT 2, 3)": [(Decimal("0.333333"),), (Decimal("0.666667"),)],
    "SELECT OBJECT_AGG(K, V) FROM (SELECT 'a' K, 1.5::FLOAT V WHERE FALSE)": [("{}",)],
    "SELECT ARRAY_AGG(X) WITHIN GROUP (ORDER BY X) FROM VALUES (3.5::FLOAT), (1) AS T(X)": [
        ("[\n  1.000000000000000e+00,\n  3.500000000000000e+00\n]",)
    ],
    "SELECT MAX(V:a::INT) FROM ONE": [(1,)],
    "SELECT A FROM ONE WHERE V:a BETWEEN 0 AND 2": [(1,)],
    "SELECT A FROM ONE WHERE V:a IN (1, 2) AND V:s IN ('str')": [(1,)],
    "SELECT SUM(VALUE::INT) FROM ONE, LATERAL FLATTEN(V:l)": [(6,)],
    # elements come in their order, as they do in Snowflake, though no ORDER BY asks for it
    "SELECT VALUE FROM (SELECT PARSE_JSON('[3,1,2]') X) T, LATERAL FLATTEN(T.X)": [("3",), ("1",), ("2",)],
    "SELECT SEQ, VALUE FROM (SELECT PARSE_JSON('[1]') X UNION ALL SELECT PARSE_JSON('[2]')), LATERAL FLATTEN(X)": [
        (1, "1"),
        (2, "2"),
    ],
    'SELECT F.VALUE:name::STRING FROM ONE, LATERAL FLATTEN(PARSE_JSON(\'[{"name": "n"}]\')) F': [("n",)],
    "SELECT G.VALUE FROM ONE, LATERAL FLATTEN(PARSE_JSON('[[1,2],[3]]')) F, LATERAL FLATTEN(F.VALUE) G": [
        ("1",),
        ("2",),
        ("3",),
    ],
    "SELECT 'x' || FL || TS || DD || B FROM ONE": [("x2.52024-01-31 10:00:00.0002024-01-31true",)],
    "SELECT RANK() OVER (ORDER BY A) / 2 FROM ONE": [(Decimal("0.500000"),)],
    "SELECT 'Hello', a, 1+1, count(*) over (), \"A\"+1, case when a=1 then 'x' end from one": [
        ("Hello", 1, 2, 1, 2, "x")
    ],
    "SELECT OBJECT_CONSTRUCT('a', A)['a']::INT, GET(OBJECT_CONSTRUCT('a', A), 'a')::INT FROM ONE": [(1, 1)],
    "SELECT S, COUNT(*) FROM VALUES ('a'), ('b'), ('a') AS T(S) GROUP BY S ORDER BY COUNT(*) DESC, S": [
        ("a", 2),
        ("b", 1),
    ],
    "SELECT X, SUM(X) OVER (ORDER BY X ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM VALUES (1), (2) AS T(X) ORDER BY X": [
        (1, 3),
        (2, 3),
    ],
    "SELECT X, AVG(X) OVER (ORDER BY X ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM VALUES (1), (3), (4) AS T(X) ORDER BY X": [
        (1, Decimal("2.000")),
        (3, Decimal("2.666")),
        (4, Decimal("3.500")),
    ],
    "SELECT AVG(X) OVER (ORDER BY X RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), AVG(-X) OVER () FROM VALUES (1), (3), (4) AS T(X) ORDER BY 1": [
        (Decimal("1.000000"), Decimal("-2.666")),
        (Decimal("2.000000"), Decimal("-2.666")),
        (Decimal("2.666667"), Decimal("-2.666")),
    ],
    "SELECT MIN_BY(X, Y), MAX_BY(X, Y) FROM VALUES ('a', 1), (NULL, 2), ('c', NULL) AS T(X, Y)": [("a", None)],
    "SELECT V['l'][0], V['o'].b::STRING, PARSE_JSON('[{\"Ab\": {\"c\": 7}}]')[0].Ab.c, V['l']['k']::INT FROM ONE": [
        ("1", "true", "7", None)
    ],
    "SELECT FL AS X, X::INT, IFF(A = 1, FL, N)::INT FROM ONE": [(2.5, 3, 3)],
    "SELECT AVG(DD - '2024-01-01'::DATE), SUM(V:a), AVG(V:f), ROUND(V:f) FROM ONE GROUP BY V:f": [
        (Decimal("30.000000"), 1.0, 1.5, 2.0)
    ],
    "SELECT COUNT(*) FROM ONE SAMPLE (1 ROWS)": [(1,)],
    "SELECT X, SUM(X) OVER (ORDER BY X RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM VALUES (1), (2), (4) AS T(X) ORDER BY X": [
        (1, 1),
        (2, 3),
        (4, 4),
    ],
    "SELECT K, V FROM (SELECT 1 A, 2 B) UNPIVOT(V FOR K IN (A, B)) ORDER BY K": [("A", 1), ("B", 2)],
    "SELECT DISTINCT K FROM VALUES ('a'), ('b'), ('a') AS T(K) ORDER BY K": [("a",), ("b",)],
    "SELECT MAX(X), MIN(X) FROM VALUES ('a'), ('b') AS T(X)": [("b", "a")],
    "SELECT MAX(X), MIN(X) FROM VALUES ('2024-01-01'::DATE), ('2024-02-01'::DATE) AS T(X)": [
        (dt.date(2024, 2, 1), dt.date(2024, 1, 1))
    ],
    "SELECT COUNT(*), COUNT(NI), SUM(NI), AVG(NI) FROM ONE": [(1, 0, None, None)],
    "SELECT MIN(X), MAX(X), AVG(X), SUM(X) FROM VALUES (1.25), (2.5), (3) AS T(X)": [
        (Decimal("1.25"), Decimal("3.00"), Decimal("2.25000000"), Decimal("6.75"))
    ],
    "SELECT ROUND(AVG(X), 3) FROM VALUES (1.25), (2.5), (3) AS T(X)": [(Decimal("2.250"),)],
    "SELECT SUM(X) / SUM(Y) FROM VALUES (1, 3), (2, 4) AS T(X, Y)": [(Decimal("0.428571"),)],
    "SELECT Q.R / 2 FROM (SELECT AVG(A) AS R FROM ONE) Q": [(Decimal("0.500000000000"),)],
    "SELECT BOOLAND_AGG(X), BOOLOR_AGG(X) FROM VALUES (TRUE), (FALSE) AS T(X)": [(False, True)],
    "SELECT X FROM VALUES (1), (2), (3) AS T(X) WHERE X BETWEEN 2 AND 3 ORDER BY X": [(2,), (3,)],
    "SELECT 'it' AS \"lower\", 1 AS upper": [("it", 1)],
    "SELECT 1 AS A UNION ALL SELECT NULL ORDER BY A NULLS FIRST": [(None,), (1,)],
    "SELECT IFF(X > 1, 'hi', 'lo') AS L, COUNT(*) FROM VALUES (1), (2), (3) AS T(X) GROUP BY L ORDER BY L": [
        ("hi", 2),
        ("lo", 1),
    ],
    "SELECT T.X, U.Y FROM VALUES (1), (2) AS T(X) LEFT JOIN VALUES (1, 'a') AS U(X, Y) ON T.X = U.X ORDER BY T.X": [
        (1, "a"),
        (2, None),
    ],
    "SELECT X, LEAD(X) OVER (PARTITION BY Y ORDER BY X) FROM VALUES (1, 'a'), (2, 'a'), (3, 'b') AS T(X, Y) ORDER BY X": [
        (1, 2),
        (2, None),
        (3, None),
    ],
    "SELECT LAST_VALUE(X) OVER (PARTITION BY Y ORDER BY X) FROM VALUES (1, 'a'), (2, 'a') AS T(X, Y)": [(2,), (2,)],
    "SELECT APPROX_PERCENTILE(X, 0.5), APPROX_COUNT_DISTINCT(X) FROM VALUES (1), (2), (3) AS T(X)": [(2.0, 3)],
    "SELECT STDDEV_POP(X), STDDEV_SAMP(X) FROM VALUES (2), (4) AS T(X)": [(1.0, 1.4142135623730951)],
    "SELECT ARRAY_AGG(DISTINCT X) WITHIN GROUP (ORDER BY X) FROM VALUES ('b'), ('a'), ('b') AS T(X)": [
        ('[\n  "a",\n  "b"\n]',)
    ],
    "SELECT COUNT(DISTINCT IFF(X > 1, X, NULL)) FROM VALUES (1), (2), (2) AS T(X)": [(1,)],
    "SELECT YEAR(D) AS Y, COUNT(*) FROM VALUES ('2024-01-01'::DATE), ('2023-01-01'::DATE) AS T(D) GROUP BY 1 ORDER BY 1": [
        (2023, 1),
        (2024, 1),
    ],
    "SELECT ANY_VALUE(X), MODE(X) FROM VALUES (1), (1) AS T(X)": [(1, 1)],
    "SELECT X FROM VALUES (2), (NULL), (1) AS T(X) ORDER BY X DESC NULLS LAST": [(2,), (1,), (None,)],
    "SELECT X, RANK() OVER (ORDER BY X DESC NULLS LAST) FROM VALUES (1), (NULL) AS T(X) ORDER BY 2": [
        (1, 1),
        (None, 2),
    ],
    # as Snowpark's documentation of DataFrame.agg has it: the root of a variance of six digits
    "SELECT STDDEV(X), STDDEV_POP(X) FROM VALUES (1), (3), (1) AS T(X)": [(1.1547003940416753, 0.9428091005076267)],
    "SELECT APPROX_PERCENTILE(X, 0.5) FROM VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9) AS T(X)": [(4.5,)],
    "SELECT LISTAGG(X, ',') WITHIN GROUP (ORDER BY X) FROM VALUES (1.0::FLOAT), (2.5::FLOAT) AS T(X)": [("1,2.5",)],
    "SELECT LISTAGG(TS, ',') FROM ONE": [("2024-01-31 10:00:00.000",)],
    "SELECT UPPER(F.VALUE), LENGTH(VALUE), F.VALUE || 'x' FROM ONE, LATERAL FLATTEN(PARSE_JSON('[\"a\"]')) F": [
        ("A", 1, "ax")
    ],
    "SELECT COUNT(*) FROM ONE, LATERAL FLATTEN(PARSE_JSON('[\"a\", \"b\"]')) F WHERE F.VALUE = 'a' AND VALUE LIKE 'a%'": [
        (1,)
    ],
    "SELECT REPLACE(F.VALUE, 's', 'z') FROM ONE, TABLE(FLATTEN(SPLIT('s', ','))) F": [("z",)],
    "SELECT LISTAGG(F.VALUE, ',') WITHIN GROUP (ORDER BY F.INDEX) FROM ONE, LATERAL FLATTEN(SPLIT('b,a', ',')) F": [
        ("b,a",)
    ],
}
