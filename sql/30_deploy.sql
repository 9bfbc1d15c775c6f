-- The code bundle and the app, from the files on the stage <% code_stage %>.
-- Role: <% engineer_role %>, after 20_objects.sql and after the upload of the repository's files.
-- `python3 ci deploy` does both. To upload by hand, folder by folder:
--     PUT file://notebooks/*.ipynb @<% code_stage %>/notebooks AUTO_COMPRESS = FALSE
-- The model service is not created here: notebook 05 creates it from the registered model (35_run.sql).

-- The code for headless runs: a snapshot of the files, with code_bundle.yml at its root.
CREATE CODE BUNDLE IF NOT EXISTS <% database %>.<% schema %>.<% bundle_name %> FROM '@<% database %>.<% schema %>.<% code_stage %>';
-- The next run uses the newest version; earlier versions are kept.
ALTER CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ADD VERSION FROM '@<% database %>.<% schema %>.<% code_stage %>';

-- FROM is the repository's root, so that the app can import lib/; the container runtime ignores IMPORTS.
CREATE OR REPLACE STREAMLIT <% database %>.<% schema %>.<% app_name %>
    FROM '@<% database %>.<% schema %>.<% code_stage %>'
    MAIN_FILE = 'streamlit/streamlit_app.py'
    QUERY_WAREHOUSE = <% warehouse %>
    RUNTIME_NAME = 'SYSTEM$ST_CONTAINER_RUNTIME_PY3_11'
    COMPUTE_POOL = <% app_pool %>
    ARTIFACT_REPOSITORIES = (snowflake.snowpark.pypi_shared_repository)
    COMMENT = 'Reads chest X-rays with the registered model. Not a medical device';
ALTER STREAMLIT <% database %>.<% schema %>.<% app_name %> ADD LIVE VERSION FROM LAST;

-- Viewers can open the app but cannot access its objects: the app runs with its owner's privileges.
GRANT USAGE ON DATABASE <% database %> TO ROLE <% viewer_role %>;
GRANT USAGE ON SCHEMA <% database %>.<% schema %> TO ROLE <% viewer_role %>;
GRANT USAGE ON STREAMLIT <% database %>.<% schema %>.<% app_name %> TO ROLE <% viewer_role %>;
