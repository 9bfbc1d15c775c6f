-- What only an account administrator can do, once, with the reason for each. Run it with ACCOUNTADMIN:
--     snow sql -f sql/10_account.sql --enable-templating STANDARD -D engineer_role=CXR_ENGINEER ...
-- Families of GPU nodes (setting gpu_family): AWS GPU_NV_S (1 x A10G), GPU_NV_M (4); Azure GPU_NV_XS (T4),
-- GPU_NV_SM (A10); Google Cloud GPU_GCP_NV_L4_1_24G.

-- One role for the people who run the notebooks, one for those who only open the app.
CREATE ROLE IF NOT EXISTS <% engineer_role %> COMMENT = 'Runs the notebooks, owns the data and the models';
CREATE ROLE IF NOT EXISTS <% viewer_role %> COMMENT = 'Opens the app';
GRANT ROLE <% engineer_role %> TO ROLE SYSADMIN;
GRANT ROLE <% viewer_role %> TO ROLE <% engineer_role %>;

-- SQL and inference on CPUs; sleeps after a minute.
CREATE WAREHOUSE IF NOT EXISTS <% warehouse %> WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
GRANT USAGE ON WAREHOUSE <% warehouse %> TO ROLE <% engineer_role %>;
GRANT MONITOR ON WAREHOUSE <% warehouse %> TO ROLE <% engineer_role %>;
GRANT USAGE ON WAREHOUSE <% warehouse %> TO ROLE <% viewer_role %>;

-- Training on a GPU: no node runs until a notebook does, and the last one ends after five minutes without work.
CREATE COMPUTE POOL IF NOT EXISTS <% gpu_pool %> MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = <% gpu_family %> AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE AUTO_SUSPEND_SECS = 300;
GRANT USAGE ON COMPUTE POOL <% gpu_pool %> TO ROLE <% engineer_role %>;
GRANT MONITOR ON COMPUTE POOL <% gpu_pool %> TO ROLE <% engineer_role %>;

-- The app's process.
CREATE COMPUTE POOL IF NOT EXISTS <% app_pool %> MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = <% app_family %> AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE AUTO_SUSPEND_SECS = 600;
GRANT USAGE ON COMPUTE POOL <% app_pool %> TO ROLE <% engineer_role %>;

-- Packages from PyPI without any way out of the account.
GRANT DATABASE ROLE SNOWFLAKE.PYPI_REPOSITORY_USER TO ROLE <% engineer_role %>;

-- A public endpoint, which REST callers need; leave it out where SQL callers suffice.
GRANT BIND SERVICE ENDPOINT ON ACCOUNT TO ROLE <% engineer_role %>;

-- Scheduled retraining and alerts (40_schedule.sql).
GRANT EXECUTE TASK ON ACCOUNT TO ROLE <% engineer_role %>;
GRANT EXECUTE ALERT ON ACCOUNT TO ROLE <% engineer_role %>;

-- The database that 20_objects.sql makes.
GRANT CREATE DATABASE ON ACCOUNT TO ROLE <% engineer_role %>;
