ALTER TABLE run_signs DROP COLUMN version;
