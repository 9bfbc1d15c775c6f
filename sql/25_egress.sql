-- Optional: external access to one host, so that notebooks can download ImageNet weights.
-- Without this file the account has no external access: put the weight file on the stage <% artifacts_stage %>, folder
-- weights/ (see docs/data.md), where training finds it. Trial accounts cannot create such an integration.
-- Role: ACCOUNTADMIN, after 20_objects.sql. `python3 ci deploy --egress` runs it and adds the integration to
-- the bundle.

CREATE NETWORK RULE IF NOT EXISTS <% database %>.<% schema %>.<% egress_rule %>
    MODE = EGRESS TYPE = HOST_PORT VALUE_LIST = ('download.pytorch.org:443')
    COMMENT = 'Where torchvision keeps its weights';
CREATE EXTERNAL ACCESS INTEGRATION IF NOT EXISTS <% egress_integration %>
    ALLOWED_NETWORK_RULES = (<% database %>.<% schema %>.<% egress_rule %>)
    ENABLED = TRUE
    COMMENT = 'Weights for transfer learning';
GRANT USAGE ON INTEGRATION <% egress_integration %> TO ROLE <% engineer_role %>;
