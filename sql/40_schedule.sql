-- What happens by itself: retraining, scoring of new images, an alert. Everything here is created suspended and costs
-- nothing until 45_start_schedule.sql. Role: <% engineer_role %>, after 30_deploy.sql.
-- IF NOT EXISTS keeps a running schedule running when this file runs again; drop a task first to change it.

-- Once a week. Costs a GPU node while the notebooks run, and five minutes more.
CREATE TASK IF NOT EXISTS <% database %>.<% schema %>.RETRAIN
    WAREHOUSE = <% warehouse %>
    SCHEDULE = 'USING CRON 0 3 * * SUN UTC'
    COMMENT = 'Trains on everything in the catalog'
AS EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/03_train.ipynb' ARGUMENTS = ('--profile', 'full');

-- Registers what was trained, and puts it into production if it is not worse than the version that is there.
CREATE TASK IF NOT EXISTS <% database %>.<% schema %>.REGISTER
    WAREHOUSE = <% warehouse %>
    COMMENT = 'Verifies and registers the newest run'
    AFTER <% database %>.<% schema %>.RETRAIN
AS EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/04_register.ipynb' ARGUMENTS = ('--profile', 'full');

-- Once a day, on a CPU node. WITH SPECIFICATION puts this text in the place of code_bundle.yml for this one run (public
-- preview: where your account lacks it, leave it out, and the task runs on the GPU pool).
CREATE TASK IF NOT EXISTS <% database %>.<% schema %>.SCORE_NEW_IMAGES
    WAREHOUSE = <% warehouse %>
    SCHEDULE = 'USING CRON 0 5 * * * UTC'
    COMMENT = 'Asks the default version about every image that it has not seen'
AS EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'jobs/score_new_images.py'
WITH SPECIFICATION $$
bundle:
  type: custom
  compute_type: compute_pool
  language: python
  compute_options:
    compute_pool: <% service_pool %>
    query_warehouse: <% warehouse %>
    runtime_version: '<% cpu_runtime %>'
  properties:
    requirements_file: requirements.txt
  artifact_repositories:
    - snowflake.snowpark.pypi_shared_repository
  stage_mounts:
    images: {stage_url: '@<% database %>.<% schema %>.<% images_stage %>', mount_path: /mnt/images/}
$$;

-- Each morning: did yesterday's answers lie otherwise than those on validation images, or were many images refused?
-- The alert writes a row, which stays. For a mail instead, an administrator makes a notification integration, and the
-- action becomes CALL SYSTEM$SEND_EMAIL('integration', 'you@example.org', 'Drift', 'Look at the page on monitoring').
CREATE ALERT IF NOT EXISTS <% database %>.<% schema %>.DRIFT
    WAREHOUSE = <% warehouse %>
    SCHEDULE = 'USING CRON 0 7 * * * UTC'
    COMMENT = 'Writes to <% alerts_table %> when yesterday moved'
IF (EXISTS (
    SELECT * FROM <% database %>.<% schema %>.<% drift_view %> WHERE DAY = DATEADD('day', -1, TO_DATE(SYSDATE()))
))
THEN INSERT INTO <% database %>.<% schema %>.<% alerts_table %> (ALERT, DETAIL)
    SELECT 'DRIFT', DETAIL FROM <% database %>.<% schema %>.<% drift_view %> WHERE DAY = DATEADD('day', -1, TO_DATE(SYSDATE()));
