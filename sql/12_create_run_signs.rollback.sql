DROP TABLE run_signs;
