-- Merchants that leave for good: what the owner of the tables alone may do, and what is known of it afterwards.

INSERT INTO directory_table (name, reason) VALUES
  ('removal', 'which merchants were removed, and what went with them');

-- While it goes on `of_merchant` says whose rows the owner may take from the append-only tables. Afterwards the
-- hash is left: whoever knows the id can prove that it is gone, and nobody learns an id here.
CREATE TABLE removal (
  removal_id uuid PRIMARY KEY,
  of_merchant uuid UNIQUE,
  merchant_hash bytea NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  -- How many rows of each table, and how many files under the name "files", the run that ended it has taken.
  gone jsonb NOT NULL DEFAULT '{}',
  CHECK ((of_merchant IS NULL) = (ended_at IS NOT NULL))
);
REVOKE ALL ON removal FROM PUBLIC, kasuwa_app;

-- A merchant that leaves is not resumed.
ALTER TABLE merchant DROP CONSTRAINT merchant_status_check;
ALTER TABLE merchant ADD CONSTRAINT merchant_status_check CHECK (status IN ('active', 'suspended', 'leaving'));

CREATE FUNCTION is_leaving(wanted uuid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
  -- The application may not look at removals, and takes nothing.
  RETURN current_user = 'kasuwa_owner' AND EXISTS (SELECT FROM removal WHERE of_merchant = wanted);
END $$;

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND is_leaving(OLD.merchant_id) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE OR REPLACE FUNCTION keep_balance() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND is_leaving(OLD.merchant_id) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'a balance stays: its movements are append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- Whose answers are kept for repeats, so that they can go with their merchant.
ALTER TABLE once ADD COLUMN merchant_id uuid;

CREATE OR REPLACE FUNCTION claim_once(wanted bytea, of_request bytea, lifetime interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  DELETE FROM once WHERE scope_hash = wanted AND expires_at <= now();
  -- Waits here while another transaction holds the same key.
  INSERT INTO once (scope_hash, fingerprint, expires_at, merchant_id)
  VALUES (wanted, of_request, now() + lifetime, current_merchant())
  ON CONFLICT (scope_hash) DO NOTHING;
  RETURN FOUND;
END $$;
