-- Roles, database, warehouse, compute pools and privileges: what only an account administrator can create, once.
-- Role: ACCOUNTADMIN. `python3 ci deploy` runs the files of this folder in the order of their numbers; 90 removes
-- everything. <% name %> is the setting of that name (lib/cxr/settings.py). To read the statements with all names
-- filled in, or to paste them into a worksheet: `python3 ci deploy --dry-run`. With the Snowflake CLI:
--     snow sql -f sql/10_account.sql --enable-templating STANDARD -D engineer_role=CXR_ENGINEER -D viewer_role=...

-- One role for people who run the notebooks, one for people who only open the app. Then grant the roles to users:
--     GRANT ROLE <% engineer_role %> TO USER somebody;
CREATE ROLE IF NOT EXISTS <% engineer_role %> COMMENT = 'Runs the notebooks, owns the data and the models';
CREATE ROLE IF NOT EXISTS <% viewer_role %> COMMENT = 'Opens the app, sees nothing behind it';
-- Administrators inherit both roles, so that they can manage every object.
GRANT ROLE <% viewer_role %> TO ROLE <% engineer_role %>;
GRANT ROLE <% engineer_role %> TO ROLE SYSADMIN;

-- The engineer owns this database, and so everything in it, and cannot create another one. If it exists and belongs to
-- other people, choose another name (setting database): this would take it over. `python3 ci deploy` stops if its owner
-- is neither this role nor ACCOUNTADMIN nor the role of your connection.
CREATE DATABASE IF NOT EXISTS <% database %> COMMENT = 'Chest X-rays, the models trained on them, and their answers';
GRANT OWNERSHIP ON DATABASE <% database %> TO ROLE <% engineer_role %> COPY CURRENT GRANTS;

-- For SQL and inference on CPUs; suspends after an idle minute. Code bundles need MONITOR.
CREATE WAREHOUSE IF NOT EXISTS <% warehouse %> WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
GRANT USAGE, MONITOR ON WAREHOUSE <% warehouse %> TO ROLE <% engineer_role %>;

-- For training on a GPU. A node starts with a notebook or task, and stops after five idle minutes.
-- Instance families (setting gpu_family) by cloud:
--     AWS           GPU_NV_S (1 x A10G)    GPU_NV_M (4 x A10G)    GPU_NV_L (8 x A100)
--     Azure         GPU_NV_XS (1 x T4)     GPU_NV_SM (1 x A10)
--     Google Cloud  GPU_GCP_NV_L4_1_24G (1 x L4)
CREATE COMPUTE POOL IF NOT EXISTS <% gpu_pool %> MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = <% gpu_family %> AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE AUTO_SUSPEND_SECS = 300;
GRANT USAGE, MONITOR, OPERATE ON COMPUTE POOL <% gpu_pool %> TO ROLE <% engineer_role %>;

-- For the app, on a small CPU node. Snowflake stops an app three days after its last view, and then the node stops.
-- ALTER COMPUTE POOL <% app_pool %> SUSPEND stops it earlier. Opening the app starts it again.
CREATE COMPUTE POOL IF NOT EXISTS <% app_pool %> MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = <% app_family %> AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE AUTO_SUSPEND_SECS = 600;
GRANT USAGE, OPERATE ON COMPUTE POOL <% app_pool %> TO ROLE <% engineer_role %>;

-- For model services and scoring. The default is a pool that Snowflake provides; a pool of your own works as well.
GRANT USAGE ON COMPUTE POOL <% service_pool %> TO ROLE <% engineer_role %>;

-- For packages from PyPI through Snowflake's own mirror, without external access.
GRANT DATABASE ROLE SNOWFLAKE.PYPI_REPOSITORY_USER TO ROLE <% engineer_role %>;

-- For a public endpoint of the model service, which REST clients need. Omit it if SQL and the app are enough:
-- notebook 05 then creates the service without one.
GRANT BIND SERVICE ENDPOINT ON ACCOUNT TO ROLE <% engineer_role %>;

-- For scheduled retraining and scoring, and the drift alert (40_schedule.sql).
GRANT EXECUTE TASK ON ACCOUNT TO ROLE <% engineer_role %>;
GRANT EXECUTE ALERT ON ACCOUNT TO ROLE <% engineer_role %>;
