"""DuckDB macros that carry the parts of Snowflake's semantics which one DuckDB function does not.

They ask for the type of their argument where they stand (``typeof``), so that they need no inference; a cast by way of
VARCHAR in a branch that another type never takes is there for the binder alone.
"""

MACROS = [
    # Snowflake raises where DuckDB answers NULL or infinity.
    "sf_div(a, b) AS CASE WHEN a IS NULL THEN NULL WHEN b = 0 THEN error('Division by zero')"
    " ELSE CAST(a AS DOUBLE) / b END",
    # text in Snowflake's default formats
    "sf_time_text(x) AS CASE WHEN typeof(x) = 'TIMESTAMP WITH TIME ZONE'"
    " THEN strftime(CAST(CAST(x AS VARCHAR) AS TIMESTAMPTZ), '%Y-%m-%d %H:%M:%S.%g') || ' +0000'"
    " ELSE strftime(CAST(CAST(x AS VARCHAR) AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g') END",
    "sf_text(v) AS CASE WHEN json_type(v) IN ('OBJECT', 'ARRAY', 'DOUBLE')"
    " THEN account_call('json:.TEXT', CAST(v AS VARCHAR)) ELSE json_extract_string(v, '$') END",
    "sf_numeric(v) AS CASE json_type(v) WHEN 'BOOLEAN' THEN CAST(CAST(v AS VARCHAR) = 'true' AS INTEGER)::VARCHAR"
    " ELSE sf_text(v) END",
    "sf_to_text(x) AS CASE WHEN typeof(x) IN ('DOUBLE', 'FLOAT')"
    " THEN format('{:.10g}', CAST(CAST(x AS VARCHAR) AS DOUBLE))"
    " WHEN starts_with(typeof(x), 'TIMESTAMP') THEN sf_time_text(x)"
    " WHEN typeof(x) = 'TIME' THEN left(CAST(x AS VARCHAR), 8)"
    " WHEN typeof(x) = 'JSON' THEN sf_text(CAST(x AS JSON)) ELSE CAST(x AS VARCHAR) END",
    "sf_unenclosed(t, mark) AS CASE WHEN contains(t, mark) OR regexp_matches(t, '[\\\\\n]') THEN"
    " error('The local account does not support unloading text with delimiters, line ends or backslashes in it'"
    " || ' without FIELD_OPTIONALLY_ENCLOSED_BY.') ELSE t END",
    # VARIANT is DuckDB's JSON. Floating point keeps an exponent, which tells it from NUMBER.
    "sf_variant(x) AS CASE WHEN x IS NULL THEN NULL"
    " WHEN typeof(x) IN ('DOUBLE', 'FLOAT') THEN CAST(format('{:.16e}', CAST(CAST(x AS VARCHAR) AS DOUBLE)) AS JSON)"
    " WHEN starts_with(typeof(x), 'DECIMAL')"
    " THEN CAST(regexp_replace(CAST(x AS VARCHAR), '\\.0*$|(\\.[0-9]*[1-9])0+$', '\\1') AS JSON)"
    " WHEN starts_with(typeof(x), 'TIMESTAMP') THEN to_json(sf_time_text(x)) ELSE to_json(x) END",
    "sf_to_char(v) AS CASE WHEN json_type(v) = 'NULL' THEN 'null' ELSE sf_text(v) END",
    "sf_number(v) AS CAST(json_extract_string(v, '$') AS DOUBLE)",
    "sf_index(v, i) AS json_extract(v, CASE WHEN json_type(v) = 'ARRAY' AND typeof(i) <> 'VARCHAR'"
    " THEN '$[' || CAST(i AS VARCHAR) || ']' ELSE '$.\"' || CAST(i AS VARCHAR) || '\"' END)",
    "sf_array_agg(l) AS CAST('[' || coalesce(array_to_string(list_transform(l,"
    " lambda v: CAST(sf_variant(v) AS VARCHAR)), ','), '') || ']' AS JSON)",
    "sf_object_agg(ks, vs) AS CAST('{' || coalesce(array_to_string(list_transform(list_zip(ks, vs),"
    " lambda p: CAST(to_json(p[1]) AS VARCHAR) || ':' || p[2]), ','), '') || '}' AS JSON)",
    "sf_try_boolean(t) AS CASE WHEN lower(t) IN ('true', 't', 'yes', 'y', 'on', '1') THEN true"
    " WHEN lower(t) IN ('false', 'f', 'no', 'n', 'off', '0') THEN false END",
    "sf_to_boolean(t) AS CASE WHEN t IS NOT NULL AND sf_try_boolean(t) IS NULL"
    " THEN error('Boolean value ''' || t || ''' is not recognized') ELSE sf_try_boolean(t) END",
    "sf_within(t, size) AS CASE WHEN length(t) > size"
    " THEN error('String ''' || t || ''' is too long and would be truncated') ELSE t END",
    "sf_unless_before(t, start, made) AS CASE WHEN start < -length(t) THEN '' ELSE made END",
    "sf_to_timestamp(n) AS make_timestamp(CAST(n * 1000000 AS BIGINT))",
    # from a random number g
    "sf_unit(g) AS least(hash(g) / 18446744073709551616, 0.9999999999999999)",
    "sf_uniform(a, b, g) AS CAST(floor(sf_unit(g) * (b - a + 1)) AS BIGINT) + a",
    "sf_whole(x) AS CASE WHEN typeof(x) IN ('DOUBLE', 'FLOAT') THEN"
    " CAST(round(CAST(CAST(x AS VARCHAR) AS DOUBLE)) AS BIGINT) ELSE CAST(x AS BIGINT) END",
    # Text as a date or a time. Digits count seconds, or thousandths and so on of them when there are so many; the
    # engine's own forms with slashes, and its words epoch and infinity, are unknown to Snowflake.
    "sf_epoch(n) AS make_timestamp(CASE WHEN n < 31536000000 THEN n * 1000000 WHEN n < 31536000000000 THEN n * 1000"
    " WHEN n < 31536000000000000 THEN n ELSE n // 1000 END)",
    "sf_seconds(n) AS CASE WHEN n > 253402300799 THEN CAST(error('timestamp field value out of range: \"' || n || '\"')"
    " AS TIMESTAMP) ELSE make_timestamp(n * 1000000) END",
    "sf_when(t) AS CASE WHEN regexp_full_match(trim(t), '-?[0-9]+') AND TRY_CAST(t AS BIGINT) >= -62135596800"
    " THEN CAST(sf_epoch(TRY_CAST(t AS BIGINT)) AS VARCHAR)"
    " WHEN regexp_matches(t, '^ *[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}')"
    " THEN regexp_replace(t, '([0-9]+)/([0-9]+)/([0-9]{4})', '\\3-\\1-\\2')"
    " WHEN regexp_matches(t, '^ *[0-9]{1,2}-[A-Za-z]{3}-[0-9]{4}')"
    " THEN strftime(try_strptime(regexp_extract(t, '[0-9]+-[A-Za-z]+-[0-9]{4}'), '%d-%b-%Y'), '%Y-%m-%d')"
    " || regexp_replace(t, '^ *[0-9]+-[A-Za-z]+-[0-9]{4}', '')"
    " WHEN regexp_matches(t, '^ *[0-9]{4}-[0-9]{1,2}-') THEN t ELSE t || '?' END",
    # The engine reads 0x1F and 1_000 as numbers.
    "sf_numeral(t) AS CASE WHEN regexp_matches(t, '_|0[xXbB]') THEN t || '?' ELSE t END",
]
