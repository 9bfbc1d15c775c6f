-- Optional: Snowflake's model monitor over PREDICTIONS, with its dashboard, drift metrics and alerts, beside the view
-- <% monitoring_view %>. Never tried on a real account. Snowflake requires that the version was logged with a tabular
-- task, that the monitor is in the model's schema, and that classes are numbers. Role: <% engineer_role %>, after
-- notebook 05. The project does not depend on it.

-- One row for each prediction with status ok, so none of an image unlike those of training; classes are 0 and 1; the
-- truth is null if the catalog has no label, and for images of training, as in <% counts_view %>.
CREATE OR REPLACE VIEW <% database %>.<% schema %>.MONITORED COPY GRANTS AS
SELECT
    P.SCORING_ID,
    P.SCORED_AT,
    P.MODEL_VERSION,
    P.P_POSITIVE,
    IFF(P.LABEL = N.NEGATIVE_LABEL, 0, 1) AS CALLED,
    IFF(C.LABEL IS NULL, NULL, IFF(C.LABEL = N.NEGATIVE_LABEL, 0, 1)) AS TRUTH
FROM <% database %>.<% schema %>.<% predictions_table %> P
LEFT JOIN <% database %>.<% schema %>.<% catalog_table %> C ON C.IMAGE_ID = P.IMAGE_ID
    AND (C.SPLIT IS NULL OR C.SPLIT = 'test' OR P.SCORED_AT < C.SPLIT_AT)
LEFT JOIN (
    SELECT MODEL_NAME, MODEL_VERSION, MAX(NEGATIVE_LABEL) AS NEGATIVE_LABEL
    FROM <% database %>.<% schema %>.<% baseline_table %> GROUP BY 1, 2
) N ON N.MODEL_NAME = P.MODEL_NAME AND N.MODEL_VERSION = P.MODEL_VERSION
WHERE P.STATUS = 'ok';

-- According to the documentation, VERSION accepts an alias. If it does not, name the version.
CREATE MODEL MONITOR IF NOT EXISTS <% database %>.<% schema %>.XRAY_MONITOR WITH
    MODEL = <% database %>.<% schema %>.<% model_name %>
    VERSION = 'PRODUCTION'
    FUNCTION = 'predict'
    SOURCE = <% database %>.<% schema %>.MONITORED
    WAREHOUSE = <% warehouse %>
    REFRESH_INTERVAL = '1 day'
    AGGREGATION_WINDOW = '1 day'
    TIMESTAMP_COLUMN = SCORED_AT
    ID_COLUMNS = ('SCORING_ID')
    PREDICTION_SCORE_COLUMNS = ('P_POSITIVE')
    PREDICTION_CLASS_COLUMNS = ('CALLED')
    ACTUAL_CLASS_COLUMNS = ('TRUTH');
