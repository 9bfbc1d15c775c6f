-- The schedule: retraining, new images, a drift alert. Everything is created suspended, and costs nothing
-- before 45_start_schedule.sql. Role: <% engineer_role %>, after 30_deploy.sql.
-- Because of IF NOT EXISTS, running tasks keep running when this file runs again. To change a task, drop it first.
-- Without USER_TASK_TIMEOUT_MS, a day here, Snowflake ends a task's run after an hour.

-- Once a week. Costs a GPU node during the notebook and for five minutes after it.
CREATE TASK IF NOT EXISTS <% database %>.<% schema %>.RETRAIN
    WAREHOUSE = <% warehouse %>
    SCHEDULE = 'USING CRON 0 3 * * SUN UTC'
    USER_TASK_TIMEOUT_MS = 86400000
    COMMENT = 'Trains on everything in the catalog'
AS EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/03_train.ipynb' ARGUMENTS = ('--profile', 'full');

-- Registers the new run, and promotes it if it is good enough and not worse than the version in production.
-- On a CPU node. WITH SPECIFICATION replaces code_bundle.yml for this run. It is a public preview: if your account lacks
-- it, remove the clauses of this file, and the tasks run on the GPU pool.
CREATE TASK IF NOT EXISTS <% database %>.<% schema %>.REGISTER
    WAREHOUSE = <% warehouse %>
    USER_TASK_TIMEOUT_MS = 86400000
    COMMENT = 'Verifies and registers the newest run'
    AFTER <% database %>.<% schema %>.RETRAIN
AS EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/04_register.ipynb' ARGUMENTS = ('--profile', 'full')
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

-- Once a day: new files on the stage <% landing_stage %> become rows of the catalog. A file that cannot be used is recorded
-- in <% rejected_table %>. Files may be removed from the stage afterwards. DICOM files, and files whose name tells no
-- patient, need the secret with the key for patient ids (setting patient_key_secret; docs/data.md).
CREATE TASK IF NOT EXISTS <% database %>.<% schema %>.INGEST_NEW_IMAGES
    WAREHOUSE = <% warehouse %>
    SCHEDULE = 'USING CRON 0 5 * * * UTC'
    USER_TASK_TIMEOUT_MS = 86400000
    COMMENT = 'Catalogs what arrived on the stage <% landing_stage %>'
AS EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'jobs/ingest_new_images.py'
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
  secrets: [<% patient_key_secret %>]
  stage_mounts:
    images: {stage_url: '@<% database %>.<% schema %>.<% images_stage %>', mount_path: /mnt/images/}
$$;

-- After the ingest: scores the new images, and all others that the version in production has not scored.
CREATE TASK IF NOT EXISTS <% database %>.<% schema %>.SCORE_NEW_IMAGES
    WAREHOUSE = <% warehouse %>
    USER_TASK_TIMEOUT_MS = 86400000
    COMMENT = 'Scores every image that the version in production has not scored'
    AFTER <% database %>.<% schema %>.INGEST_NEW_IMAGES
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

-- Each morning: did yesterday's probabilities differ from those on validation images, were many images rejected, or were
-- many unlike those of training?
-- The alert writes a row. For a mail instead, ask an administrator for a notification integration, and use the action
-- CALL SYSTEM$SEND_EMAIL('integration', 'you@example.org', 'Drift', 'See the page Monitoring of the app').
CREATE ALERT IF NOT EXISTS <% database %>.<% schema %>.DRIFT
    WAREHOUSE = <% warehouse %>
    SCHEDULE = 'USING CRON 0 7 * * * UTC'
    COMMENT = 'Writes to <% alerts_table %> when the probabilities drifted, or many images were rejected or unlike those of training'
IF (EXISTS (
    SELECT * FROM <% database %>.<% schema %>.<% drift_view %> WHERE DAY = DATEADD('day', -1, TO_DATE(SYSDATE()))
))
THEN INSERT INTO <% database %>.<% schema %>.<% alerts_table %> (ALERT, DETAIL)
    SELECT SIGNAL, DETAIL FROM <% database %>.<% schema %>.<% drift_view %> WHERE DAY = DATEADD('day', -1, TO_DATE(SYSDATE()));
