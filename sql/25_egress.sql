-- Optional: let notebooks fetch ImageNet weights themselves, from one named host and no other.
-- Without this file nothing leaves the account: put the weight file on the stage <% artifacts_stage %>, folder weights/
-- (docs/data.md says how), and training finds it there. Trial accounts cannot create such an integration.
-- Role: ACCOUNTADMIN, after 20_objects.sql. `python3 ci deploy --egress` runs it and adds the integration to the bundle.

CREATE NETWORK RULE IF NOT EXISTS <% database %>.<% schema %>.<% egress_rule %>
    MODE = EGRESS TYPE = HOST_PORT VALUE_LIST = ('download.pytorch.org:443')
    COMMENT = 'Where torchvision keeps its weights';
CREATE EXTERNAL ACCESS INTEGRATION IF NOT EXISTS <% egress_integration %>
    ALLOWED_NETWORK_RULES = (<% database %>.<% schema %>.<% egress_rule %>)
    ENABLED = TRUE
    COMMENT = 'Weights for transfer learning';
GRANT USAGE ON INTEGRATION <% egress_integration %> TO ROLE <% engineer_role %>;
