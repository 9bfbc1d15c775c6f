-- The project's schema, stages, tables and views. Role: <% engineer_role %>, or any that may create a database.
-- Notebook 01 runs this file too. It can run any number of times and keeps all data, and what you have granted on it.

-- Snowflake demands the privilege CREATE DATABASE even if the database exists. Notebook 01 and `python3 ci deploy` skip
-- this statement then. If you run the file by hand after 10_account.sql, leave it out.
CREATE DATABASE IF NOT EXISTS <% database %>;
CREATE SCHEMA IF NOT EXISTS <% database %>.<% schema %>;

-- Batch inference over files needs server-side encryption.
CREATE STAGE IF NOT EXISTS <% database %>.<% schema %>.<% images_stage %>
    DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')
    COMMENT = 'Chest X-rays, each named by the SHA-256 of its file';
CREATE STAGE IF NOT EXISTS <% database %>.<% schema %>.<% landing_stage %>
    DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')
    COMMENT = 'Where new images arrive; the task INGEST_NEW_IMAGES catalogs them. Files may be removed afterwards';
CREATE STAGE IF NOT EXISTS <% database %>.<% schema %>.<% artifacts_stage %>
    DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')
    COMMENT = 'Weights, checkpoints, evaluations and figures';
CREATE STAGE IF NOT EXISTS <% database %>.<% schema %>.<% code_stage %>
    DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')
    COMMENT = 'This repository, for the code bundle and the app';

CREATE TABLE IF NOT EXISTS <% database %>.<% schema %>.<% catalog_table %> (
    IMAGE_ID STRING NOT NULL COMMENT 'SHA-256 of the file',
    RELATIVE_PATH STRING NOT NULL COMMENT 'Place on the images stage',
    SOURCE STRING NOT NULL COMMENT 'Folder, zip or stage that was ingested',
    SOURCE_NAME STRING NOT NULL COMMENT 'Path in it; a file that changed has a row for each content',
    LABEL STRING COMMENT 'A class of CATALOG_FACTS, upper case; null while nobody knows what the image shows',
    CAUSE STRING COMMENT 'bacteria or virus, where known',
    PATIENT_ID STRING NOT NULL,
    PATIENT_FROM STRING COMMENT 'The rule that told the patient: table, header, name or none',
    STUDY_ID STRING COMMENT 'The study in the header, under the same key as patients',
    SPLIT STRING COMMENT 'train, validation or test; all images of a patient share it. Null without a label, and until an ingest has ended',
    SPLIT_SEED NUMBER(38, 0),
    SPLIT_AT TIMESTAMP_NTZ COMMENT 'When the image got its split, UTC; null where that is unknown',
    WIDTH NUMBER(38, 0) NOT NULL COMMENT 'pixels',
    HEIGHT NUMBER(38, 0) NOT NULL COMMENT 'pixels',
    BYTES NUMBER(38, 0) NOT NULL,
    FORMAT STRING NOT NULL,
    VIEW_POSITION STRING,
    SET_ASIDE STRING COMMENT 'lateral or for_processing: neither trained on nor scored unless asked for',
    BURNED_IN BOOLEAN COMMENT 'The header says that the pixels show text about the patient',
    LATERALITY STRING,
    SEX STRING,
    AGE_BAND STRING COMMENT 'ten years',
    PERCEPTUAL_HASH STRING NOT NULL COMMENT 'dHash, 256 bits',
    NEAR_DUPLICATE_OF STRING COMMENT 'An IMAGE_ID: the same picture in other bytes, at most 10 bits apart',
    VANISHED_AT TIMESTAMP_NTZ COMMENT 'When its source was found to hold this content no more',
    CATALOGED_AT TIMESTAMP_NTZ DEFAULT SYSDATE(),
    PRIMARY KEY (IMAGE_ID)
) COMMENT = 'One row per usable image';

-- For accounts from earlier versions of this project; cxr.account.migrate fills these columns.
ALTER TABLE <% database %>.<% schema %>.<% catalog_table %> ADD COLUMN IF NOT EXISTS PATIENT_FROM STRING;
ALTER TABLE <% database %>.<% schema %>.<% catalog_table %> ADD COLUMN IF NOT EXISTS STUDY_ID STRING;
ALTER TABLE <% database %>.<% schema %>.<% catalog_table %> ADD COLUMN IF NOT EXISTS SET_ASIDE STRING;
ALTER TABLE <% database %>.<% schema %>.<% catalog_table %> ADD COLUMN IF NOT EXISTS BURNED_IN BOOLEAN;
ALTER TABLE <% database %>.<% schema %>.<% catalog_table %> ADD COLUMN IF NOT EXISTS SPLIT_AT TIMESTAMP_NTZ;

CREATE TABLE IF NOT EXISTS <% database %>.<% schema %>.<% facts_table %> (
    NAME STRING NOT NULL COMMENT 'label_set, patient_rules, key_check, last_ingest',
    VALUE STRING COMMENT 'JSON',
    WRITTEN_AT TIMESTAMP_NTZ DEFAULT SYSDATE()
) COMMENT = 'What holds for the whole catalog';

CREATE TABLE IF NOT EXISTS <% database %>.<% schema %>.<% rejected_table %> (
    SOURCE STRING NOT NULL COMMENT 'Folder, zip or stage that was ingested',
    SOURCE_NAME STRING NOT NULL COMMENT 'Path in it',
    REASON STRING NOT NULL COMMENT 'A code of cxr.model.preprocessing.BadImage, two_classes, changed or duplicate',
    DETAIL STRING,
    REJECTED_AT TIMESTAMP_NTZ DEFAULT SYSDATE()
) COMMENT = 'Files that were found and not cataloged';

CREATE TABLE IF NOT EXISTS <% database %>.<% schema %>.<% pixels_table %> (
    IMAGE_ID STRING NOT NULL COMMENT 'Of the catalog',
    SIDE NUMBER(38, 0) NOT NULL COMMENT 'pixels',
    PREPROCESSING_VERSION NUMBER(38, 0) NOT NULL COMMENT 'Of cxr.model.preprocessing',
    DECODERS STRING NOT NULL COMMENT 'Packages that decoded the image, and their versions',
    PIXELS BINARY NOT NULL COMMENT 'SIDE rows of SIDE grey levels, a byte each, as the network sees them',
    PRIMARY KEY (IMAGE_ID, SIDE, PREPROCESSING_VERSION)
) COMMENT = 'Images that the warehouse has decoded, for training; made again where they are missing';

CREATE TABLE IF NOT EXISTS <% database %>.<% schema %>.<% predictions_table %> (
    SCORING_ID STRING COMMENT 'Follows from image, version, path and request: writing an answer twice leaves one',
    IMAGE_ID STRING COMMENT 'Of the catalog; the SHA-256 of the file for an upload',
    MODEL_NAME STRING NOT NULL,
    MODEL_VERSION STRING NOT NULL,
    P_POSITIVE FLOAT COMMENT '1 minus the probability of the negative class; null where the image could not be scored',
    PROBABILITIES STRING COMMENT 'JSON: class -> probability',
    LABEL STRING,
    STATUS STRING NOT NULL COMMENT 'ok, unlike_training (no label), or why there is no probability',
    TRIAGE STRING COMMENT 'rule_out, uncertain or rule_in; null without an answer, or of a version of before triage',
    PATH_TAKEN STRING NOT NULL COMMENT 'WAREHOUSE, SERVICE, REST or BATCH',
    SCORED_AT TIMESTAMP_NTZ DEFAULT SYSDATE()
) COMMENT = 'Every answer of the model, once; what stands here is never changed';

ALTER TABLE <% database %>.<% schema %>.<% predictions_table %> ADD COLUMN IF NOT EXISTS PROBABILITIES STRING;
ALTER TABLE <% database %>.<% schema %>.<% predictions_table %> ADD COLUMN IF NOT EXISTS TRIAGE STRING;

CREATE TABLE IF NOT EXISTS <% database %>.<% schema %>.<% training_log_table %> (
    RUN_ID STRING NOT NULL COMMENT 'Names the folder runs/RUN_ID on the artifacts stage',
    EPOCH NUMBER(38, 0) NOT NULL COMMENT '0 for figures of the whole run',
    METRIC STRING NOT NULL,
    VALUE FLOAT,
    LOGGED_AT TIMESTAMP_NTZ DEFAULT SYSDATE()
) COMMENT = 'Metrics of every training run';

CREATE TABLE IF NOT EXISTS <% database %>.<% schema %>.<% alerts_table %> (
    ALERT STRING NOT NULL,
    DETAIL STRING,
    RAISED_AT TIMESTAMP_NTZ DEFAULT SYSDATE()
) COMMENT = 'What the alerts of 40_schedule.sql found';

CREATE TABLE IF NOT EXISTS <% database %>.<% schema %>.<% promotions_table %> (
    PROMOTION_ID STRING NOT NULL,
    STARTED_AT TIMESTAMP_NTZ DEFAULT SYSDATE(),
    PROMOTED_BY STRING DEFAULT CURRENT_USER(),
    MODEL_NAME STRING NOT NULL,
    FROM_VERSION STRING COMMENT 'In production before; null for the first',
    TO_VERSION STRING NOT NULL,
    STATUS STRING NOT NULL COMMENT 'started, done, or broken off',
    REASON STRING
) COMMENT = 'Which version went into production when, by whom, and why';

CREATE TABLE IF NOT EXISTS <% database %>.<% schema %>.<% baseline_table %> (
    MODEL_NAME STRING NOT NULL,
    MODEL_VERSION STRING NOT NULL,
    TENTH NUMBER(38, 0) NOT NULL COMMENT '0: probabilities below 0.1, ... 9: from 0.9',
    IMAGES NUMBER(38, 0) NOT NULL,
    NEGATIVE_LABEL STRING COMMENT 'The class of the version that means: nothing found'
) COMMENT = 'How each version''s probabilities lay on validation images; ten rows a version';
ALTER TABLE <% database %>.<% schema %>.<% baseline_table %> ADD COLUMN IF NOT EXISTS NEGATIVE_LABEL STRING;

-- A staged file as base64, the input of the model; no built-in function of a warehouse reads a file.
CREATE OR REPLACE FUNCTION <% database %>.<% schema %>.IMAGE_BASE64(URL STRING) COPY GRANTS
RETURNS STRING LANGUAGE PYTHON RUNTIME_VERSION = '3.11' PACKAGES = ('snowflake-snowpark-python') HANDLER = 'read'
COMMENT = 'Give it BUILD_SCOPED_FILE_URL(@stage, path)'
AS $$
import base64
from snowflake.snowpark.files import SnowflakeFile

def read(url):
    with SnowflakeFile.open(url, 'rb') as file:
        return base64.b64encode(file.read()).decode()
$$;

-- Counts of the predictions. TRUTH is the label in the catalog; it may arrive long after the prediction. It is null for
-- images of training: those that were in the split train or validation when they were scored (IN_TRAINING). An image that
-- got its split later was unknown to the version that had scored it, so its truth counts. COUNTED marks one answer of
-- each image, day and version, one with a probability if there is any, because several paths may answer the same image.
CREATE OR REPLACE VIEW <% database %>.<% schema %>.<% counts_view %> COPY GRANTS AS
SELECT
    TO_DATE(P.SCORED_AT) AS DAY,
    P.MODEL_NAME,
    P.MODEL_VERSION,
    P.PATH_TAKEN,
    SPLIT_PART(P.STATUS, ':', 1) AS STATUS,
    P.LABEL,
    IFF(P.IN_TRAINING, NULL, P.CATALOG_LABEL) AS TRUTH,
    P.LABEL <> N.NEGATIVE_LABEL AS POSITIVE,
    IFF(P.IN_TRAINING, NULL, P.CATALOG_LABEL <> N.NEGATIVE_LABEL) AS TRULY_POSITIVE,
    LEAST(FLOOR(P.P_POSITIVE * 10), 9)::INTEGER AS TENTH,
    P.TRIAGE,
    P.IN_TRAINING,
    P.COUNTED,
    COUNT(*) AS IMAGES,
    AVG(P.P_POSITIVE) AS MEAN_PROBABILITY
FROM (
    SELECT
        A.*, C.LABEL AS CATALOG_LABEL,
        COALESCE(C.SPLIT IN ('train', 'validation'), FALSE) AND COALESCE(A.SCORED_AT >= C.SPLIT_AT, TRUE) AS IN_TRAINING,
        ROW_NUMBER() OVER (
            PARTITION BY A.IMAGE_ID, A.MODEL_NAME, A.MODEL_VERSION, TO_DATE(A.SCORED_AT)
            ORDER BY A.P_POSITIVE IS NULL, A.SCORED_AT, A.SCORING_ID
        ) = 1 AS COUNTED
    FROM <% database %>.<% schema %>.<% predictions_table %> A
    LEFT JOIN <% database %>.<% schema %>.<% catalog_table %> C ON C.IMAGE_ID = A.IMAGE_ID
) P
LEFT JOIN (
    SELECT MODEL_NAME, MODEL_VERSION, MAX(NEGATIVE_LABEL) AS NEGATIVE_LABEL
    FROM <% database %>.<% schema %>.<% baseline_table %> GROUP BY 1, 2
) N ON N.MODEL_NAME = P.MODEL_NAME AND N.MODEL_VERSION = P.MODEL_VERSION
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13;

-- One row for each day and version; an image counts once, however many paths answered it.
-- STABILITY_INDEX (PSI) compares the day's probabilities with those on validation images: below 0.1 small, above
-- 0.25 large; half an image is added to each of the ten bins, so that none is empty.
-- An image unlike those of training has a probability and no label. It counts as not refused, and only in SHARE_UNLIKE
-- and, where the truth is known, in UNLIKE_WITH_TRUTH instead of in ACCURACY. WITH_TRUTH, UNLIKE_WITH_TRUTH, ACCURACY,
-- SENSITIVITY and SPECIFICITY leave out images of training, whose TRUTH above is null.
CREATE OR REPLACE VIEW <% database %>.<% schema %>.<% monitoring_view %> COPY GRANTS AS
WITH DAYS AS (
    SELECT
        DAY, MODEL_NAME, MODEL_VERSION,
        SUM(IMAGES) AS ALL_IMAGES,
        SUM(IFF(STATUS = 'ok', IMAGES, 0)) AS SCORED,
        SUM(IFF(STATUS = 'ok' AND POSITIVE, IMAGES, 0)) AS POSITIVE,
        SUM(IFF(STATUS = 'unlike_training', IMAGES, 0)) AS UNLIKE,
        SUM(IFF(STATUS = 'unlike_training' AND TRUTH IS NOT NULL, IMAGES, 0)) AS UNLIKE_KNOWN,
        SUM(IFF(STATUS = 'ok' AND TRIAGE IS NOT NULL, IMAGES, 0)) AS TRIAGED,
        SUM(IFF(STATUS = 'ok' AND TRIAGE = 'uncertain', IMAGES, 0)) AS UNCERTAIN,
        SUM(IFF(STATUS = 'ok', IMAGES * MEAN_PROBABILITY, 0)) AS PROBABILITIES,
        SUM(IFF(STATUS = 'ok' AND TRUTH IS NOT NULL, IMAGES, 0)) AS KNOWN,
        SUM(IFF(STATUS = 'ok' AND TRUTH = LABEL, IMAGES, 0)) AS CORRECT,
        SUM(IFF(STATUS = 'ok' AND TRULY_POSITIVE, IMAGES, 0)) AS ILL,
        SUM(IFF(STATUS = 'ok' AND TRULY_POSITIVE AND POSITIVE, IMAGES, 0)) AS FOUND,
        SUM(IFF(STATUS = 'ok' AND NOT TRULY_POSITIVE AND NOT POSITIVE, IMAGES, 0)) AS CLEARED
    FROM <% database %>.<% schema %>.<% counts_view %>
    WHERE COUNTED
    GROUP BY 1, 2, 3
),
TENTHS AS (
    SELECT D.DAY, D.MODEL_NAME, D.MODEL_VERSION, B.TENTH, (B.IMAGES + 0.5)::FLOAT AS BEFORE, (COALESCE(SUM(C.IMAGES), 0) + 0.5)::FLOAT AS AFTER
    FROM DAYS D
    JOIN <% database %>.<% schema %>.<% baseline_table %> B
        ON B.MODEL_NAME = D.MODEL_NAME AND B.MODEL_VERSION = D.MODEL_VERSION
    LEFT JOIN <% database %>.<% schema %>.<% counts_view %> C
        ON C.DAY = D.DAY AND C.MODEL_NAME = D.MODEL_NAME AND C.MODEL_VERSION = D.MODEL_VERSION
        AND C.TENTH = B.TENTH AND C.STATUS = 'ok' AND C.COUNTED
    WHERE D.SCORED > 0
    GROUP BY D.DAY, D.MODEL_NAME, D.MODEL_VERSION, B.TENTH, B.IMAGES
),
SHARES AS (
    SELECT
        DAY, MODEL_NAME, MODEL_VERSION,
        BEFORE / SUM(BEFORE) OVER (PARTITION BY DAY, MODEL_NAME, MODEL_VERSION) AS P,
        AFTER / SUM(AFTER) OVER (PARTITION BY DAY, MODEL_NAME, MODEL_VERSION) AS Q
    FROM TENTHS
),
DRIFT AS (
    SELECT DAY, MODEL_NAME, MODEL_VERSION, SUM((Q - P) * LN(Q / P)) AS STABILITY_INDEX
    FROM SHARES
    GROUP BY 1, 2, 3
)
SELECT
    D.DAY, D.MODEL_NAME, D.MODEL_VERSION,
    D.ALL_IMAGES AS IMAGES,
    (D.ALL_IMAGES - D.SCORED - D.UNLIKE) / D.ALL_IMAGES AS SHARE_REFUSED,
    D.POSITIVE / NULLIF(D.SCORED, 0) AS SHARE_POSITIVE,
    D.PROBABILITIES / NULLIF(D.SCORED, 0) AS MEAN_PROBABILITY,
    R.STABILITY_INDEX,
    D.KNOWN AS WITH_TRUTH,
    D.CORRECT / NULLIF(D.KNOWN, 0) AS ACCURACY,
    D.FOUND / NULLIF(D.ILL, 0) AS SENSITIVITY,
    D.CLEARED / NULLIF(D.KNOWN - D.ILL, 0) AS SPECIFICITY,
    D.UNLIKE / D.ALL_IMAGES AS SHARE_UNLIKE,
    D.UNLIKE_KNOWN AS UNLIKE_WITH_TRUTH,
    D.UNCERTAIN / NULLIF(D.TRIAGED, 0) AS SHARE_UNCERTAIN
FROM DAYS D
LEFT JOIN DRIFT R ON R.DAY = D.DAY AND R.MODEL_NAME = D.MODEL_NAME AND R.MODEL_VERSION = D.MODEL_VERSION;

-- One row for each day, version and signal, with a sentence. Days with fewer than 30 images are left out, and for the
-- stability index those with fewer than 100: at 30 it is above 0.25 by chance on every second day. UNLIKE has its own
-- limit, because the gate is made to stop 1% of X-rays like those of training.
CREATE OR REPLACE VIEW <% database %>.<% schema %>.<% drift_view %> COPY GRANTS AS
SELECT
    DAY, MODEL_NAME, MODEL_VERSION,
    MODEL_VERSION || ' on ' || DAY::STRING || ': ' || IMAGES || ' images, stability index ' ||
        COALESCE(ROUND(STABILITY_INDEX, 2)::STRING, 'unknown') || ', ' || ROUND(100 * SHARE_REFUSED)::INTEGER ||
        '% refused' AS DETAIL,
    'DRIFT' AS SIGNAL
FROM <% database %>.<% schema %>.<% monitoring_view %>
WHERE IMAGES >= 100 AND STABILITY_INDEX > 0.25 OR IMAGES >= 30 AND SHARE_REFUSED > 0.10
UNION ALL
SELECT
    DAY, MODEL_NAME, MODEL_VERSION,
    MODEL_VERSION || ' on ' || DAY::STRING || ': ' || ROUND(100 * SHARE_UNLIKE)::INTEGER || '% of ' || IMAGES ||
        ' images are unlike those of training' AS DETAIL,
    'UNLIKE' AS SIGNAL
FROM <% database %>.<% schema %>.<% monitoring_view %>
WHERE IMAGES >= 30 AND SHARE_UNLIKE > 0.05;
