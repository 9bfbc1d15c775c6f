-- Run the five notebooks headless in the account, in order. Arguments are strings; each names a setting.
-- Role: <% engineer_role %>, after 30_deploy.sql. `python3 ci deploy --run` runs it.
-- EXECUTE waits for its notebook. The notebook runs as your user, with your default role and all your other
-- roles, not with the active role of this session. cxr.connect() then switches to <% engineer_role %>, so that this role
-- owns the objects that the notebook creates.
-- Only notebook 03 trains, on the GPU pool of code_bundle.yml. WITH SPECIFICATION replaces that file for one run: the
-- other notebooks run on a CPU node, which costs less while they wait for images to be built. It is a public preview:
-- if your account lacks it, remove the clauses, and all notebooks run on the GPU pool.
-- The secret with the key for patient ids goes to notebook 02 alone (setting patient_key_secret; docs/data.md).

EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/01_setup.ipynb' ARGUMENTS = ('--profile', '<% profile %>')
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
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/02_data_ingest.ipynb' ARGUMENTS = ('--profile', '<% profile %>', '--data', '<% data %>')
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
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/03_train.ipynb' ARGUMENTS = ('--profile', '<% profile %>');
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/04_register.ipynb' ARGUMENTS = ('--profile', '<% profile %>')
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
-- With keep_service, the model service is left suspended. A request starts it; it suspends again when idle.
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/05_deploy.ipynb' ARGUMENTS = ('--profile', '<% profile %>', '--keep-service', '<% keep_service %>')
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
