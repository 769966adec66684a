-- Numbers as the old system wrote them, read exactly or not at all. Functions of the same name in
-- an old database, which its view depends on, are replaced in place and come back by a rollback.
-- They name their search_path because REFRESH MATERIALIZED VIEW and pg_restore set none.
-- depends: 01_create_normalized_tables

INSERT INTO before_migration (kind, name, definition)
  SELECT 'function', proname, pg_get_functiondef(oid)
  FROM pg_proc
  WHERE oid IN (
    to_regprocedure('parse_comma_number(text)'), to_regprocedure('hex_to_numeric(text)'));

-- 0x2a, 0X2A or 2a, zero-padded to any width; NULL and '' are 0. Raises for anything else.
CREATE OR REPLACE FUNCTION hex_to_numeric(hex_val TEXT) RETURNS NUMERIC
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  digits TEXT := ltrim(hex_val, '0xX');
  total NUMERIC := 0;
BEGIN
  IF hex_val IS NULL OR hex_val = '' THEN
    RETURN 0;
  END IF;
  IF hex_val !~ '^(0[xX])?[0-9A-Fa-f]+$' OR length(digits) > 64 THEN
    RAISE EXCEPTION 'not a hexadecimal number of at most 256 bits: %',
      quote_literal(left(hex_val, 200)) USING ERRCODE = 'invalid_text_representation';
  END IF;
  digits := lpad(digits, (length(digits) + 7) / 8 * 8, '0');
  FOR word IN 0 .. length(digits) / 8 - 1 LOOP
    total := total * 4294967296 + ('x' || substr(digits, word * 8 + 1, 8))::bit(32)::bigint;
  END LOOP;
  RETURN total;
END
$$;

-- 1234, 1,234 or 0x4d2, and NULL for whatever is no such number, the empty text included. Commas
-- stand between groups of three or not at all. Amounts are unsigned integers: a sign, a point, an
-- exponent or a blank makes it no number.
CREATE FUNCTION number_or_null(text_val TEXT) RETURNS NUMERIC
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
DECLARE
  total NUMERIC;
BEGIN
  IF text_val ~ '^0[xX]0*[0-9A-Fa-f]{1,64}$' THEN
    RETURN hex_to_numeric(text_val);
  END IF;
  IF text_val ~ '^([0-9]+|[0-9]{1,3}(,[0-9]{3})+)$' AND length(ltrim(text_val, '0,')) <= 103 THEN
    total := replace(text_val, ',', '')::NUMERIC;
  END IF;
  RETURN CASE
    WHEN total < 115792089237316195423570985008687907853269984665640564039457584007913129639936
    THEN total
  END;
END
$$;

-- As number_or_null, but NULL and '' are 0, and anything else that is no number raises.
CREATE OR REPLACE FUNCTION parse_comma_number(text_val TEXT) RETURNS NUMERIC
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
DECLARE
  total CONSTANT NUMERIC := number_or_null(text_val);
BEGIN
  IF text_val <> '' AND total IS NULL THEN
    RAISE EXCEPTION 'not a number of at most 256 bits: %', quote_literal(left(text_val, 200))
      USING ERRCODE = 'invalid_text_representation';
  END IF;
  RETURN coalesce(total, 0);
END
$$;

-- What a share is worth at the close of an epoch, times 10^18, from the state at its end block: the
-- reciprocal of the epoch's price. NULL without shares, or where one of the facts is unknown.
CREATE FUNCTION stake_per_share(shares NUMERIC, stake NUMERIC, reward NUMERIC, tax SMALLINT)
RETURNS NUMERIC LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE WHEN shares > 0 THEN
  div((stake + reward - div(reward * tax, 100)) * 1000000000000000000, shares) END
$$;
