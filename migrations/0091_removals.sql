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

-- Who leaves is not served any more, however much of them is still there: their people and links are not found,
-- and their jobs are left lying until they go. Sessions, tokens and customers ask for an active merchant themselves.
CREATE OR REPLACE FUNCTION find_login(wanted text)
RETURNS TABLE (merchant_id uuid, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT l.merchant_id, l.user_id FROM login_name l WHERE l.name = wanted AND NOT is_leaving(l.merchant_id)
$$;

CREATE OR REPLACE FUNCTION find_account(wanted uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT a.merchant_id FROM account_directory a WHERE a.user_id = wanted AND NOT is_leaving(a.merchant_id)
$$;

CREATE OR REPLACE FUNCTION find_link(wanted bytea, for_purpose text)
RETURNS TABLE (merchant_id uuid, user_id uuid, was_used boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT l.merchant_id, l.user_id, l.used_at IS NOT NULL FROM one_time_link l
  WHERE l.token_hash = wanted AND l.purpose = for_purpose AND l.expires_at > now()
    AND NOT is_leaving(l.merchant_id)
$$;

CREATE OR REPLACE FUNCTION claim_jobs(how_many integer, lease interval)
RETURNS TABLE (job_id uuid, merchant_id uuid, kind text, payload jsonb, attempts integer)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  WITH next AS MATERIALIZED (
    SELECT w.job_id, w.run_at FROM job w
    WHERE w.status = 'waiting' AND w.run_at <= now()
      AND NOT EXISTS (SELECT FROM removal r WHERE r.of_merchant = w.merchant_id)
    ORDER BY w.run_at, w.job_id LIMIT how_many
    FOR UPDATE SKIP LOCKED
  ), taken AS (
    UPDATE job j SET leased_until = now() + lease, attempts = j.attempts + 1, run_at = now() + lease
    FROM next WHERE j.job_id = next.job_id
    RETURNING j.job_id, j.merchant_id, j.kind, j.payload, j.attempts, next.run_at
  )
  SELECT t.job_id, t.merchant_id, t.kind, t.payload, t.attempts FROM taken t ORDER BY t.run_at, t.job_id
$$;
