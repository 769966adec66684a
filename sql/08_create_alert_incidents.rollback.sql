DROP TABLE alert_incidents;
