-- One-time codes that apps have sent to an address, whoever it belongs to: no merchant is known there.

INSERT INTO directory_table (name, reason) VALUES
  ('address_check', 'codes that apps have sent to addresses, before any merchant is known');

CREATE TABLE address_check (
  -- The handle that the app got; addresses and codes are kept as keyed hashes only.
  reference_hash bytea PRIMARY KEY,
  channel text NOT NULL CHECK (channel IN ('email', 'mobile')),
  address_mark bytea NOT NULL,
  code_mark bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  tries_left smallint NOT NULL
);
CREATE INDEX address_check_expires ON address_check (expires_at);
REVOKE ALL ON address_check FROM PUBLIC, kasuwa_app;

CREATE FUNCTION add_address_check(
  new_reference bytea, on_channel text, for_address bytea, new_code bytea, lifetime interval, tries integer
) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  ends timestamptz := now() + lifetime;
BEGIN
  -- Each new one sweeps a few that are over; one that another transaction holds is left to it.
  DELETE FROM address_check WHERE reference_hash IN (
    SELECT reference_hash FROM address_check WHERE expires_at <= now() ORDER BY expires_at LIMIT 10
    FOR UPDATE SKIP LOCKED);
  INSERT INTO address_check (reference_hash, channel, address_mark, code_mark, expires_at, tries_left)
  VALUES (new_reference, on_channel, for_address, new_code, ends, tries);
  RETURN ends;
END $$;

CREATE FUNCTION spend_address_check(wanted bytea, on_channel text, of_address bytea[])
RETURNS TABLE (code_mark bytea, tries_left integer, expires_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  UPDATE address_check c SET tries_left = c.tries_left - 1
  WHERE c.reference_hash = wanted AND c.channel = on_channel AND c.address_mark = ANY (of_address)
    AND c.tries_left > 0 AND c.expires_at > now()
  RETURNING c.code_mark, c.tries_left::integer, c.expires_at
$$;
COMMENT ON FUNCTION spend_address_check IS 'One try of the code, which the caller compares.';

CREATE FUNCTION use_address_check(wanted bytea, right_code bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  DELETE FROM address_check WHERE reference_hash = wanted AND code_mark = right_code AND expires_at > now();
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION use_address_check IS 'Ends the code; false when another request did.';
