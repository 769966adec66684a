DROP FUNCTION operator_events(BIGINT, BIGINT, INTEGER, BIGINT);
DROP FUNCTION status_in_words(TEXT);
DROP TABLE alert_events_seen;
DROP TABLE alert_deliveries;
DELETE FROM alert_incidents WHERE kind = 'event';
ALTER TABLE alert_incidents DROP COLUMN kind;
