-- What an epoch's document says apart from its operators, beside it: an answer about some operators
-- is put together from that and from their rows, without taking every document apart.
-- depends: 13_create_nominators

ALTER TABLE epoch_documents
  ADD COLUMN head TEXT,
  ADD COLUMN tail TEXT,
  ADD COLUMN rewards_departed BOOLEAN;
COMMENT ON COLUMN epoch_documents.head IS 'What comes before the operators'' stakes.';
COMMENT ON COLUMN epoch_documents.tail IS
  'What comes between the operators'' prices and the keys of the prices that are only defaults.';
COMMENT ON COLUMN epoch_documents.rewards_departed IS
  'Whether somebody is rewarded who has no row, since he had left before the epoch was over.';

CREATE FUNCTION keep_ends_of_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.head := split_part(NEW.document, '{', 2);
  NEW.tail := split_part(split_part(NEW.document, '},"operators":', 2), '[', 1);
  NEW.rewards_departed := (
    SELECT count(*) > (SELECT count(reward_raw) FROM operator_shares AS share
                       WHERE share.epoch = NEW.epoch)
    FROM epoch_analytics AS fact, jsonb_object_keys(fact.operator_rewards_json)
    WHERE fact.epoch = NEW.epoch);
  RETURN NEW;
END
$$;
DO $$
BEGIN
  EXECUTE format('ALTER FUNCTION keep_ends_of_document() SET search_path = %I, pg_temp',
                 current_schema());
END
$$;
CREATE TRIGGER keep_ends BEFORE INSERT OR UPDATE ON epoch_documents
  FOR EACH ROW EXECUTE FUNCTION keep_ends_of_document();
UPDATE epoch_documents SET document = document;

CREATE INDEX epoch_documents_ends ON epoch_documents (epoch)
  INCLUDE (head, tail, rewards_departed);
