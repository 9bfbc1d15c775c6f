-- What only an account administrator can do, once: the roles, the machines, the rights. Each statement has its reason.
-- Role: ACCOUNTADMIN. The files run in the order of their numbers; 90 removes everything. `python3 ci deploy` runs them.
-- <% name %> stands for the setting of that name (lib/cxr/settings.py), here and in all of them. Filled in, to read or
-- to paste into a worksheet: `python3 ci deploy --dry-run`. With the Snowflake CLI:
--     snow sql -f sql/10_account.sql --enable-templating STANDARD -D engineer_role=CXR_ENGINEER -D viewer_role=...

-- One role for the people who run the notebooks, one for those who only open the app. Afterwards give them to people:
--     GRANT ROLE <% engineer_role %> TO USER somebody;
CREATE ROLE IF NOT EXISTS <% engineer_role %> COMMENT = 'Runs the notebooks, owns the data and the models';
CREATE ROLE IF NOT EXISTS <% viewer_role %> COMMENT = 'Opens the app, sees nothing behind it';
-- Administrators inherit both, so that no object is ever beyond their reach.
GRANT ROLE <% viewer_role %> TO ROLE <% engineer_role %>;
GRANT ROLE <% engineer_role %> TO ROLE SYSADMIN;

-- The engineer owns one database and may create no other: all rights on what lies in it follow from that.
CREATE DATABASE IF NOT EXISTS <% database %> COMMENT = 'Chest X-rays, the models trained on them, and their answers';
GRANT OWNERSHIP ON DATABASE <% database %> TO ROLE <% engineer_role %> COPY CURRENT GRANTS;

-- SQL and inference on CPUs; sleeps after a minute without work. MONITOR: code bundles ask for it.
CREATE WAREHOUSE IF NOT EXISTS <% warehouse %> WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
GRANT USAGE, MONITOR ON WAREHOUSE <% warehouse %> TO ROLE <% engineer_role %>;

-- Training on a GPU. No node runs until a notebook or task does; the last one goes after five minutes without work.
-- Instance families (setting gpu_family) by cloud:
--     AWS           GPU_NV_S (1 x A10G)    GPU_NV_M (4 x A10G)    GPU_NV_L (8 x A100)
--     Azure         GPU_NV_XS (1 x T4)     GPU_NV_SM (1 x A10)
--     Google Cloud  GPU_GCP_NV_L4_1_24G (1 x L4)
CREATE COMPUTE POOL IF NOT EXISTS <% gpu_pool %> MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = <% gpu_family %> AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE AUTO_SUSPEND_SECS = 300;
GRANT USAGE, MONITOR ON COMPUTE POOL <% gpu_pool %> TO ROLE <% engineer_role %>;

-- The app's process, on a small CPU node. Snowflake lets such an app run until nobody has looked at it for three days;
-- then the node goes. ALTER COMPUTE POOL <% app_pool %> SUSPEND ends it earlier, and opening the app starts it again.
CREATE COMPUTE POOL IF NOT EXISTS <% app_pool %> MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = <% app_family %> AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE AUTO_SUSPEND_SECS = 600;
GRANT USAGE ON COMPUTE POOL <% app_pool %> TO ROLE <% engineer_role %>;

-- Model services and scoring. The default is a pool that Snowflake provides; a pool of your own works as well.
GRANT USAGE ON COMPUTE POOL <% service_pool %> TO ROLE <% engineer_role %>;

-- Packages from PyPI through Snowflake's own mirror: nothing leaves the account for them.
GRANT DATABASE ROLE SNOWFLAKE.PYPI_REPOSITORY_USER TO ROLE <% engineer_role %>;

-- A public endpoint for the model service, which REST callers need. Leave it out where SQL and the app suffice.
GRANT BIND SERVICE ENDPOINT ON ACCOUNT TO ROLE <% engineer_role %>;

-- Scheduled retraining and scoring, and the alert on drift (40_schedule.sql).
GRANT EXECUTE TASK ON ACCOUNT TO ROLE <% engineer_role %>;
GRANT EXECUTE ALERT ON ACCOUNT TO ROLE <% engineer_role %>;
