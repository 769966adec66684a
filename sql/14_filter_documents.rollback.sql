DROP TRIGGER keep_ends ON epoch_documents;
DROP FUNCTION keep_ends_of_document();
ALTER TABLE epoch_documents DROP COLUMN head, DROP COLUMN tail, DROP COLUMN rewards_departed;
