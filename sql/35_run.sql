-- Run the five notebooks headless in the account, in order. Arguments are strings; each names a setting.
-- Role: <% engineer_role %>, after 30_deploy.sql. `python3 ci deploy --run` runs it. A GPU node runs during this time.
-- EXECUTE waits for its notebook. The notebook runs as your user, with your default role and all your other
-- roles, not with the active role of this session. cxr.connect() then switches to <% engineer_role %>, so that this role
-- owns the objects that the notebook creates.

EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/01_setup.ipynb' ARGUMENTS = ('--profile', '<% profile %>');
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/02_data_ingest.ipynb' ARGUMENTS = ('--profile', '<% profile %>', '--data', '<% data %>');
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/03_train.ipynb' ARGUMENTS = ('--profile', '<% profile %>');
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/04_register.ipynb' ARGUMENTS = ('--profile', '<% profile %>');
-- With keep_service, the model service is left suspended. A request starts it; it suspends again when nobody asks.
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/05_deploy.ipynb' ARGUMENTS = ('--profile', '<% profile %>', '--keep-service', '<% keep_service %>');
