-- The five notebooks in the account, in order, with nobody at the screen. Arguments are strings; each names a setting.
-- Role: <% engineer_role %>, after 30_deploy.sql. `python3 ci deploy --run` runs it. A GPU node runs meanwhile.
-- EXECUTE waits for its notebook. It runs as you, with your default role and all your other roles, whichever role is
-- active in this session; cxr.connect() then takes <% engineer_role %>, so that what is made belongs to it.

EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/01_setup.ipynb' ARGUMENTS = ('--profile', '<% profile %>');
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/02_data_ingest.ipynb' ARGUMENTS = ('--profile', '<% profile %>', '--data', '<% data %>');
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/03_train.ipynb' ARGUMENTS = ('--profile', '<% profile %>');
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/04_register.ipynb' ARGUMENTS = ('--profile', '<% profile %>');
-- keep_service: the model's service is left asleep. A request wakes it; then it runs, and costs a node, until
-- ALTER SERVICE ... SUSPEND.
EXECUTE CODE BUNDLE <% database %>.<% schema %>.<% bundle_name %> ENTRYPOINT = 'notebooks/05_deploy.ipynb' ARGUMENTS = ('--profile', '<% profile %>', '--keep-service', '<% keep_service %>');
