-- Snowflake's own model monitor over PREDICTIONS: its dashboard, its drift and its alerts beside the view <% monitoring_view %>.
-- Never tried against an account. The platform asks that the version was logged with a tabular task, that the monitor
-- stands in the model's schema, and that classes are numbers. Role: <% engineer_role %>, after notebook 05. The
-- project does without it.

-- One row an answer that could be given; classes as 0 and 1, the truth where the catalog knows it.
CREATE OR REPLACE VIEW <% database %>.<% schema %>.MONITORED AS
SELECT
    P.SCORING_ID,
    P.SCORED_AT,
    P.MODEL_VERSION,
    P.P_PNEUMONIA,
    IFF(P.LABEL = 'PNEUMONIA', 1, 0) AS CALLED,
    IFF(C.LABEL IS NULL, NULL, IFF(C.LABEL = 'PNEUMONIA', 1, 0)) AS TRUTH
FROM <% database %>.<% schema %>.<% predictions_table %> P
LEFT JOIN <% database %>.<% schema %>.<% catalog_table %> C ON C.IMAGE_ID = P.IMAGE_ID
WHERE P.STATUS = 'ok';

-- VERSION takes an alias too, as far as is documented; else name the version.
CREATE MODEL MONITOR IF NOT EXISTS <% database %>.<% schema %>.PNEUMONIA_MONITOR WITH
    MODEL = <% database %>.<% schema %>.<% model_name %>
    VERSION = 'PRODUCTION'
    FUNCTION = 'predict'
    SOURCE = <% database %>.<% schema %>.MONITORED
    WAREHOUSE = <% warehouse %>
    REFRESH_INTERVAL = '1 day'
    AGGREGATION_WINDOW = '1 day'
    TIMESTAMP_COLUMN = SCORED_AT
    ID_COLUMNS = ('SCORING_ID')
    PREDICTION_SCORE_COLUMNS = ('P_PNEUMONIA')
    PREDICTION_CLASS_COLUMNS = ('CALLED')
    ACTUAL_CLASS_COLUMNS = ('TRUTH');
