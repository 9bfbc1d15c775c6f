-- Retraining once a week, as a task that executes the bundle's notebooks. Created suspended; RESUME starts the schedule.
-- Each run costs a GPU node for as long as the training takes, and the minutes until the pool suspends.

CREATE TASK IF NOT EXISTS <% database %>.<% schema %>.RETRAIN
    WAREHOUSE = <% warehouse %>
    SCHEDULE = 'USING CRON 0 3 * * SUN UTC'
AS EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/03_train.ipynb' ARGUMENTS = ('--profile', 'full');

CREATE TASK IF NOT EXISTS <% database %>.<% schema %>.REGISTER
    WAREHOUSE = <% warehouse %>
    AFTER <% database %>.<% schema %>.RETRAIN
AS EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/04_register.ipynb';

-- ALTER TASK <% database %>.<% schema %>.REGISTER RESUME;
-- ALTER TASK <% database %>.<% schema %>.RETRAIN RESUME;
