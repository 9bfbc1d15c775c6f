-- Start the schedule of 40_schedule.sql: from here on it costs what docs/operations.md says, until SUSPEND.
-- Role: <% engineer_role %>. `python3 ci deploy --start-schedule` runs it. A task before the one that it waits for.

ALTER TASK <% database %>.<% schema %>.REGISTER RESUME;
ALTER TASK <% database %>.<% schema %>.RETRAIN RESUME;
ALTER TASK <% database %>.<% schema %>.SCORE_NEW_IMAGES RESUME;
ALTER ALERT <% database %>.<% schema %>.DRIFT RESUME;
