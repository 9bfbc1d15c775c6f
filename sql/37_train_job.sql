-- Train and register in a container of your own: a job service, whose specification is on the stage <% code_stage %>.
-- Role: <% engineer_role %>, after 30_deploy.sql. `python3 ci deploy --as job` runs it.
-- EXECUTE waits for the job and fails if the job fails. The image is named in jobs/train_job.yaml (setting job_image).

-- A job keeps its name after its end. Its log goes with it.
DROP SERVICE IF EXISTS <% database %>.<% schema %>.<% job_name %>;
EXECUTE JOB SERVICE IN COMPUTE POOL <% job_pool %>
    NAME = <% database %>.<% schema %>.<% job_name %>
    QUERY_WAREHOUSE = <% warehouse %>
    FROM @<% database %>.<% schema %>.<% code_stage %> SPECIFICATION_FILE = 'jobs/train_job.yaml';
