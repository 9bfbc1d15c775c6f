-- Everything away, what runs first: schedule, service, app, data, then what the administrator made.
-- The first part is for the engineer's role; the part below the line for ACCOUNTADMIN.

DROP TASK IF EXISTS <% database %>.<% schema %>.REGISTER;
DROP TASK IF EXISTS <% database %>.<% schema %>.RETRAIN;
DROP SERVICE IF EXISTS <% database %>.<% schema %>.<% service_name %>;
DROP STREAMLIT IF EXISTS <% database %>.<% schema %>.<% app_name %>;
DROP CODE BUNDLE IF EXISTS <% database %>.<% schema %>.<% bundle_name %>;
DROP MODEL IF EXISTS <% database %>.<% schema %>.<% model_name %>;
DROP DATABASE IF EXISTS <% database %>;

-- ---------------------------------------------------------------------------------------------- ACCOUNTADMIN

DROP COMPUTE POOL IF EXISTS <% app_pool %>;
DROP COMPUTE POOL IF EXISTS <% gpu_pool %>;
-- The warehouse <% warehouse %> stays: other people may use it, and suspended it costs nothing.
DROP ROLE IF EXISTS <% viewer_role %>;
DROP ROLE IF EXISTS <% engineer_role %>;
