-- Start the schedule of 40_schedule.sql. It costs what docs/operations.md lists, until you suspend it.
-- Role: <% engineer_role %>. `python3 ci deploy --start-schedule` runs it. A dependent task is resumed before its root.

-- A task graph is changed only while its root is suspended, so this file can run again.
ALTER TASK IF EXISTS <% database %>.<% schema %>.RETRAIN SUSPEND;
ALTER TASK IF EXISTS <% database %>.<% schema %>.INGEST_NEW_IMAGES SUSPEND;
ALTER TASK <% database %>.<% schema %>.REGISTER RESUME;
ALTER TASK <% database %>.<% schema %>.RETRAIN RESUME;
ALTER TASK <% database %>.<% schema %>.SCORE_NEW_IMAGES RESUME;
ALTER TASK <% database %>.<% schema %>.INGEST_NEW_IMAGES RESUME;
ALTER ALERT <% database %>.<% schema %>.DRIFT RESUME;
