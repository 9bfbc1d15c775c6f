-- Everything away: what runs and costs first, then what holds data, then what the administrator made.
-- IT DELETES THE IMAGES, THE MODELS AND THE ANSWERS. A dropped database can be had back with UNDROP DATABASE for a day.
-- Role: ACCOUNTADMIN, who inherits the engineer's role; an engineer may run it down to the line.
-- `python3 ci deploy --teardown <% database %>` runs it. It can run again.

-- Nothing starts any more.
ALTER TASK IF EXISTS <% database %>.<% schema %>.RETRAIN SUSPEND;
ALTER TASK IF EXISTS <% database %>.<% schema %>.SCORE_NEW_IMAGES SUSPEND;
ALTER ALERT IF EXISTS <% database %>.<% schema %>.DRIFT SUSPEND;

-- Nothing runs any more: the model's service, the app.
DROP SERVICE IF EXISTS <% database %>.<% schema %>.<% service_name %>;
DROP STREAMLIT IF EXISTS <% database %>.<% schema %>.<% app_name %>;

DROP TASK IF EXISTS <% database %>.<% schema %>.REGISTER;
DROP TASK IF EXISTS <% database %>.<% schema %>.RETRAIN;
DROP TASK IF EXISTS <% database %>.<% schema %>.SCORE_NEW_IMAGES;
DROP ALERT IF EXISTS <% database %>.<% schema %>.DRIFT;
DROP CODE BUNDLE IF EXISTS <% database %>.<% schema %>.<% bundle_name %>;
DROP MODEL IF EXISTS <% database %>.<% schema %>.<% model_name %>;

-- ---------------------------------------------------------------------------------------------- ACCOUNTADMIN

-- Notebooks and jobs that people left running on the project's own pools.
ALTER COMPUTE POOL IF EXISTS <% gpu_pool %> STOP ALL;
ALTER COMPUTE POOL IF EXISTS <% app_pool %> STOP ALL;
DROP COMPUTE POOL IF EXISTS <% gpu_pool %>;
DROP COMPUTE POOL IF EXISTS <% app_pool %>;

-- Before the database, which holds the network rule that it uses.
DROP INTEGRATION IF EXISTS <% egress_integration %>;
-- Stages, tables, views, experiments, the network rule.
DROP DATABASE IF EXISTS <% database %>;

-- With the roles go all rights that they were given.
DROP ROLE IF EXISTS <% viewer_role %>;
DROP ROLE IF EXISTS <% engineer_role %>;
-- The warehouse <% warehouse %> stays: it may be other people's, and suspended it costs nothing.
