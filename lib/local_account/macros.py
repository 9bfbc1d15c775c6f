"""DuckDB macros that carry the parts of Snowflake's semantics which one DuckDB function does not."""

MACROS = [
    # Snowflake raises where DuckDB answers NULL or infinity.
    "sf_div(a, b) AS CASE WHEN b = 0 THEN error('Division by zero') ELSE CAST(a AS DOUBLE) / b END",
    "sf_float_text(x) AS CASE WHEN x = trunc(x) AND abs(x) < 1e15 THEN CAST(CAST(x AS BIGINT) AS VARCHAR)"
    " ELSE CAST(x AS VARCHAR) END",
    "sf_ntz_text(x) AS strftime(x, '%Y-%m-%d %H:%M:%S.%g')",
    "sf_ltz_text(x) AS strftime(x, '%Y-%m-%d %H:%M:%S.%g') || ' +0000'",
    # VARIANT is DuckDB's JSON.
    "sf_text(v) AS json_extract_string(v, '$')",
    "sf_number(v) AS CAST(json_extract_string(v, '$') AS DOUBLE)",
    "sf_variant(x) AS CASE WHEN x IS NULL THEN NULL ELSE to_json(x) END",
    "sf_typeof(v) AS CASE json_type(v) WHEN 'UBIGINT' THEN 'INTEGER' WHEN 'BIGINT' THEN 'INTEGER'"
    " WHEN 'NULL' THEN 'NULL_VALUE' WHEN 'DOUBLE' THEN"
    " CASE WHEN lower(CAST(v AS VARCHAR)) LIKE '%e%' THEN 'DOUBLE' ELSE 'DECIMAL' END ELSE json_type(v) END",
    "sf_index(v, i) AS json_extract(v, CASE WHEN json_type(v) = 'ARRAY' THEN '$[' || CAST(i AS VARCHAR) || ']'"
    " ELSE '$.\"' || CAST(i AS VARCHAR) || '\"' END)",
    "sf_object(ks, vs) AS CAST('{' || array_to_string(list_transform(list_filter(list_zip(ks, vs),"
    " lambda p: p[1] IS NOT NULL AND p[2] IS NOT NULL), lambda p: CAST(to_json(p[1]) AS VARCHAR) || ':' ||"
    " CAST(p[2] AS VARCHAR)), ',') || '}' AS JSON)",
    "sf_object_insert(o, k, v) AS json_merge_patch(o, json_object(CAST(k AS VARCHAR), v))",
    "sf_object_keys(o) AS CASE WHEN json_type(o) = 'OBJECT' THEN to_json(json_keys(o)) END",
    "sf_array_size(v) AS CASE WHEN json_type(v) = 'ARRAY' THEN CAST(json_array_length(v) AS BIGINT) END",
    "sf_array_contains(v, a) AS CASE WHEN v IS NOT NULL AND a IS NOT NULL THEN list_contains(CAST(a AS JSON[]), v) END",
    "sf_array_append(a, v) AS to_json(list_append(CAST(a AS JSON[]), v))",
    "sf_array_cat(a, b) AS to_json(list_concat(CAST(a AS JSON[]), CAST(b AS JSON[])))",
    "sf_array_text(a, s) AS array_to_string(list_transform(CAST(a AS JSON[]),"
    " lambda v: coalesce(json_extract_string(v, '$'), '')), s)",
    "sf_array_slice(a, lo, hi) AS to_json(CAST(a AS JSON[])[lo + 1:hi])",
    "sf_array_distinct(a) AS to_json(list_distinct(CAST(a AS JSON[])))",
    "sf_array_agg(l) AS coalesce(to_json(l), CAST('[]' AS JSON))",
    "sf_to_timestamp(n) AS make_timestamp(CAST(n * 1000000 AS BIGINT))",
    "width_bucket(x, lo, hi, n) AS CASE WHEN x < lo THEN 0 WHEN x >= hi THEN n + 1"
    " ELSE CAST(floor((x - lo) / ((hi - lo) / n)) + 1 AS BIGINT) END",
    "sf_is_json_null(v) AS CASE WHEN v IS NOT NULL THEN json_type(v) = 'NULL' END",
    "sf_check_json(t) AS CASE WHEN t IS NULL OR json_valid(t) THEN NULL ELSE 'unable to parse JSON' END",
    "sf_haversine(a, b, c, d) AS 2 * 6371 * asin(sqrt(pow(sin(radians(c - a) / 2), 2)"
    " + cos(radians(a)) * cos(radians(c)) * pow(sin(radians(d - b) / 2), 2)))",
    "sf_to_boolean(t) AS CASE WHEN lower(t) IN ('true', 't', 'yes', 'y', 'on', '1') THEN true"
    " WHEN lower(t) IN ('false', 'f', 'no', 'n', 'off', '0') THEN false"
    " WHEN t IS NULL THEN NULL ELSE error('Boolean value ''' || t || ''' is not recognized') END",
]
