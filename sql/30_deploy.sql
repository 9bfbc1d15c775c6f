-- The code bundle and the app, from the repository's files on the code stage. Run it with the engineer's role, after
-- 20_objects.sql and after the files were uploaded:
--     PUT file://./notebooks/*.ipynb @<% code_stage %>/notebooks AUTO_COMPRESS = FALSE OVERWRITE = TRUE;  (and so on)
-- `snow bundle create` and `snow stage copy` do the same from a folder.

CREATE CODE BUNDLE IF NOT EXISTS <% database %>.<% schema %>.<% bundle_name %> FROM '@<% database %>.<% schema %>.<% code_stage %>';
ALTER CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ADD VERSION FROM '@<% database %>.<% schema %>.<% code_stage %>';

-- FROM is the repository's root, so that the app can reach lib/; the container runtime ignores IMPORTS.
CREATE OR REPLACE STREAMLIT <% database %>.<% schema %>.<% app_name %>
    FROM '@<% database %>.<% schema %>.<% code_stage %>'
    MAIN_FILE = 'streamlit/streamlit_app.py'
    QUERY_WAREHOUSE = <% warehouse %>
    RUNTIME_NAME = 'SYSTEM$ST_CONTAINER_RUNTIME_PY3_11'
    COMPUTE_POOL = <% app_pool %>
    ARTIFACT_REPOSITORIES = (snowflake.snowpark.pypi_shared_repository);
ALTER STREAMLIT <% database %>.<% schema %>.<% app_name %> ADD LIVE VERSION FROM LAST;

-- Viewers see the app and nothing behind it: the app runs with its owner's rights.
GRANT USAGE ON DATABASE <% database %> TO ROLE <% viewer_role %>;
GRANT USAGE ON SCHEMA <% database %>.<% schema %> TO ROLE <% viewer_role %>;
GRANT USAGE ON STREAMLIT <% database %>.<% schema %>.<% app_name %> TO ROLE <% viewer_role %>;
