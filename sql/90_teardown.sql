-- Remove everything: first what runs and costs, then what has data, then what the administrator created.
-- IT DELETES THE IMAGES, THE MODELS AND THE PREDICTIONS. For a day, UNDROP DATABASE restores a dropped database.
-- Role: ACCOUNTADMIN, which inherits the engineer's role; an engineer can run the part above the line ACCOUNTADMIN.
-- `python3 ci deploy --teardown <% database %>` runs it. It can run again.

-- Stop the schedule.
ALTER TASK IF EXISTS <% database %>.<% schema %>.RETRAIN SUSPEND;
ALTER TASK IF EXISTS <% database %>.<% schema %>.INGEST_NEW_IMAGES SUSPEND;
ALTER TASK IF EXISTS <% database %>.<% schema %>.SCORE_NEW_IMAGES SUSPEND;
ALTER ALERT IF EXISTS <% database %>.<% schema %>.DRIFT SUSPEND;

-- Stop the model service, the training job and the app.
DROP SERVICE IF EXISTS <% database %>.<% schema %>.<% service_name %>;
DROP SERVICE IF EXISTS <% database %>.<% schema %>.<% job_name %>;
DROP STREAMLIT IF EXISTS <% database %>.<% schema %>.<% app_name %>;

DROP TASK IF EXISTS <% database %>.<% schema %>.REGISTER;
DROP TASK IF EXISTS <% database %>.<% schema %>.RETRAIN;
DROP TASK IF EXISTS <% database %>.<% schema %>.SCORE_NEW_IMAGES;
DROP TASK IF EXISTS <% database %>.<% schema %>.INGEST_NEW_IMAGES;
DROP ALERT IF EXISTS <% database %>.<% schema %>.DRIFT;
DROP CODE BUNDLE IF EXISTS <% database %>.<% schema %>.<% bundle_name %>;
DROP MODEL IF EXISTS <% database %>.<% schema %>.<% model_name %>;

-- ---------------------------------------------------------------------------------------------- ACCOUNTADMIN

-- Stop notebooks and jobs that still run on the project's own pools.
ALTER COMPUTE POOL IF EXISTS <% gpu_pool %> STOP ALL;
ALTER COMPUTE POOL IF EXISTS <% app_pool %> STOP ALL;
DROP COMPUTE POOL IF EXISTS <% gpu_pool %>;
DROP COMPUTE POOL IF EXISTS <% app_pool %>;

-- Before the database, because the integration uses a network rule in it.
DROP INTEGRATION IF EXISTS <% egress_integration %>;
-- With the database go stages, tables, views, experiments, the network rule, and every other schema in it.
DROP DATABASE IF EXISTS <% database %>;

-- With the roles go all their privileges.
DROP ROLE IF EXISTS <% viewer_role %>;
DROP ROLE IF EXISTS <% engineer_role %>;
-- The warehouse <% warehouse %> stays: others may use it, and a suspended warehouse costs nothing.
