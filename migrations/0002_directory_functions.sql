-- The only doors into the directory. Each is owned by kasuwa_owner, runs with its rights, and
-- answers for one exact key; the application's role has no right on the tables themselves.

-- Log-in names ----------------------------------------------------------------------------------

CREATE FUNCTION find_login(wanted text)
RETURNS TABLE (merchant_id uuid, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$ SELECT l.merchant_id, l.user_id FROM login_name l WHERE l.name = wanted $$;

CREATE FUNCTION find_account(wanted uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$ SELECT merchant_id FROM account_directory WHERE user_id = wanted $$;

CREATE FUNCTION add_account(new_user uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$ INSERT INTO account_directory (user_id, merchant_id) VALUES (new_user, current_merchant()) $$;

CREATE FUNCTION claim_login(new_name text, new_kind text, for_user uuid, is_proved boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  -- What a pending account has was said and not proved: it is free again after a day, and an address as soon as somebody
  -- proves it. Nobody keeps another's address by claiming it.
  DELETE FROM login_name l USING user_account u
  WHERE l.name = new_name AND u.merchant_id = l.merchant_id AND u.user_id = l.user_id
    AND u.status = 'pending' AND u.user_id <> for_user
    AND (u.created_at < now() - interval '1 day' OR (is_proved AND l.kind <> 'username'));
  INSERT INTO login_name (name, kind, merchant_id, user_id)
  VALUES (new_name, new_kind, current_merchant(), for_user)
  ON CONFLICT (name) DO NOTHING;
  RETURN EXISTS (
    SELECT FROM login_name l
    WHERE l.name = new_name AND l.merchant_id = current_merchant() AND l.user_id = for_user);
END $$;
COMMENT ON FUNCTION claim_login IS 'Whether the name is the user''s now; false when it is somebody else''s.';

CREATE FUNCTION logs_in_elsewhere(wanted text, but_for uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT EXISTS (
    SELECT FROM login_name l JOIN user_account u ON u.merchant_id = l.merchant_id AND u.user_id = l.user_id
    WHERE l.name = wanted AND l.user_id <> but_for AND u.status <> 'pending')
$$;
COMMENT ON FUNCTION logs_in_elsewhere IS 'Whether an open account of somebody else logs in by the name.';

-- Stores ----------------------------------------------------------------------------------------

CREATE FUNCTION find_store(wanted uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$ SELECT merchant_id FROM store_directory WHERE store_id = wanted $$;

CREATE FUNCTION add_store(new_store uuid, new_hash text, new_shop text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO store_directory (store_id, store_hash, shop, merchant_id)
  VALUES (new_store, new_hash, new_shop, current_merchant())
  ON CONFLICT DO NOTHING;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION add_store IS 'False when the hash or the shop name is taken: try another.';

-- Sessions --------------------------------------------------------------------------------------

CREATE FUNCTION open_session(
  new_hash bytea, new_kind text, for_user uuid, at_store uuid, from_store uuid,
  on_platform text, idle interval, absolute interval, replacing bytea
) RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  INSERT INTO session (token_hash, kind, merchant_id, user_id, store_id, original_store_id, platform,
                       replaces, idle_after, expires_at)
  VALUES (new_hash, new_kind, current_merchant(), for_user, at_store, from_store, on_platform,
          replacing, idle, now() + absolute)
  RETURNING expires_at
$$;

-- Asked at every request: a role, a right or a suspension holds from the next one on, on every worker.
CREATE FUNCTION resolve_session(wanted bytea, wanted_kind text)
RETURNS TABLE (
  merchant_id uuid, user_id uuid, store_id uuid, original_store_id uuid, role text, extra_permissions text[],
  expires_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
BEGIN
  SELECT * INTO s FROM session WHERE token_hash = wanted AND kind = wanted_kind;
  IF NOT FOUND OR now() >= s.expires_at OR now() >= s.last_seen_at + s.idle_after THEN
    RETURN;
  END IF;
  IF s.replaces IS NOT NULL THEN
    -- The first use of a token ends the one it took over from, and others that would have taken over too.
    DELETE FROM session WHERE token_hash = s.replaces;
    DELETE FROM session WHERE replaces = s.replaces AND token_hash <> wanted;
    UPDATE session SET replaces = NULL, last_seen_at = now() WHERE token_hash = wanted;
    IF NOT FOUND THEN
      RETURN;  -- one of those was used in the same moment
    END IF;
  ELSIF s.last_seen_at < now() - interval '1 minute' THEN
    UPDATE session SET last_seen_at = now()
    WHERE token_hash = wanted AND last_seen_at < now() - interval '1 minute';
  END IF;
  PERFORM set_config('app.merchant_id', s.merchant_id::text, true);
  RETURN QUERY
    SELECT s.merchant_id, s.user_id, s.store_id, s.original_store_id, m.role, m.extra_permissions, s.expires_at
    FROM membership m
    JOIN user_account u ON u.merchant_id = m.merchant_id AND u.user_id = m.user_id
    JOIN merchant t ON t.merchant_id = m.merchant_id
    JOIN store l ON l.merchant_id = m.merchant_id AND l.store_id = m.store_id
    WHERE m.merchant_id = s.merchant_id AND m.user_id = s.user_id AND m.store_id = s.store_id
      AND m.status = 'active' AND u.status = 'active' AND t.status = 'active' AND l.status = 'active';
END $$;

CREATE FUNCTION end_session(wanted bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$ DELETE FROM session WHERE token_hash = wanted AND merchant_id = current_merchant() $$;

CREATE FUNCTION end_sessions_of(wanted uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$ DELETE FROM session WHERE merchant_id = current_merchant() AND user_id = wanted $$;

-- API tokens ------------------------------------------------------------------------------------

CREATE FUNCTION add_access_token(new_hash bytea, new_id uuid, at_store uuid, new_name text, new_scopes text[])
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  INSERT INTO access_token (token_hash, token_id, merchant_id, store_id, name, scopes)
  VALUES (new_hash, new_id, current_merchant(), at_store, new_name, new_scopes)
$$;

CREATE FUNCTION resolve_access_token(wanted bytea)
RETURNS TABLE (
  merchant_id uuid, token_id uuid, store_id uuid, store_hash text, scopes text[], store_status text, currency text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  RETURN QUERY
    SELECT t.merchant_id, t.token_id, t.store_id, s.store_hash, t.scopes, s.status, s.currency
    FROM access_token t
    JOIN store s ON s.merchant_id = t.merchant_id AND s.store_id = t.store_id
    JOIN merchant m ON m.merchant_id = t.merchant_id AND m.status = 'active'
    WHERE t.token_hash = wanted AND t.revoked_at IS NULL;
END $$;

CREATE FUNCTION revoke_access_token(wanted uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE access_token SET revoked_at = now()
  WHERE token_id = wanted AND merchant_id = current_merchant() AND revoked_at IS NULL;
  RETURN FOUND;
END $$;

-- One-time links --------------------------------------------------------------------------------

CREATE FUNCTION add_link(new_hash bytea, for_purpose text, for_user uuid, lifetime interval) RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  INSERT INTO one_time_link (token_hash, purpose, merchant_id, user_id, expires_at)
  VALUES (new_hash, for_purpose, current_merchant(), for_user, now() + lifetime)
  RETURNING expires_at
$$;

CREATE FUNCTION use_link(wanted bytea, for_purpose text)
RETURNS TABLE (merchant_id uuid, user_id uuid, was_used boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  RETURN QUERY
    WITH link AS (
      SELECT l.token_hash, l.used_at FROM one_time_link l
      WHERE l.token_hash = wanted AND l.purpose = for_purpose AND l.expires_at > now()
      FOR UPDATE
    )
    UPDATE one_time_link l SET used_at = coalesce(l.used_at, now())
    FROM link WHERE l.token_hash = link.token_hash
    RETURNING l.merchant_id, l.user_id, link.used_at IS NOT NULL;
END $$;

-- Once ------------------------------------------------------------------------------------------

CREATE FUNCTION find_once(wanted bytea)
RETURNS TABLE (fingerprint bytea, sealed bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$ SELECT o.fingerprint, o.sealed FROM once o WHERE o.scope_hash = wanted AND o.expires_at > now() $$;

CREATE FUNCTION claim_once(wanted bytea, of_request bytea, lifetime interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  DELETE FROM once WHERE scope_hash = wanted AND expires_at <= now();
  -- Waits here while another transaction holds the same key.
  INSERT INTO once (scope_hash, fingerprint, expires_at) VALUES (wanted, of_request, now() + lifetime)
  ON CONFLICT (scope_hash) DO NOTHING;
  RETURN FOUND;
END $$;

CREATE FUNCTION keep_once(wanted bytea, answer bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$ UPDATE once SET sealed = answer WHERE scope_hash = wanted $$;

-- Jobs ------------------------------------------------------------------------------------------

CREATE FUNCTION enqueue_job(new_id uuid, new_kind text, new_payload jsonb, due timestamptz, new_unique_key text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  LOOP
    INSERT INTO job (job_id, merchant_id, kind, payload, run_at, unique_key)
    VALUES (new_id, current_merchant(), new_kind, new_payload, coalesce(due, now()), new_unique_key)
    ON CONFLICT (unique_key) WHERE status = 'waiting' AND attempts = 0 DO NOTHING;
    EXIT WHEN FOUND;
    -- One that nobody has begun does for both, but it must not begin before this transaction is there to see:
    -- a worker passes over a row that is held. Those that queue do not wait for each other.
    PERFORM 1 FROM job WHERE unique_key = new_unique_key AND status = 'waiting' AND attempts = 0 FOR KEY SHARE;
    IF FOUND THEN
      UPDATE job SET run_at = coalesce(due, now())
      WHERE unique_key = new_unique_key AND status = 'waiting' AND attempts = 0 AND run_at > coalesce(due, now());
      EXIT;
    END IF;
  END LOOP;
END $$;

CREATE FUNCTION claim_jobs(how_many integer, lease interval)
RETURNS TABLE (job_id uuid, merchant_id uuid, kind text, payload jsonb, attempts integer)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  WITH next AS MATERIALIZED (
    SELECT w.job_id, w.run_at FROM job w
    WHERE w.status = 'waiting' AND w.run_at <= now()
    ORDER BY w.run_at, w.job_id LIMIT how_many
    FOR UPDATE SKIP LOCKED
  ), taken AS (
    UPDATE job j SET leased_until = now() + lease, attempts = j.attempts + 1, run_at = now() + lease
    FROM next WHERE j.job_id = next.job_id
    RETURNING j.job_id, j.merchant_id, j.kind, j.payload, j.attempts, next.run_at
  )
  SELECT t.job_id, t.merchant_id, t.kind, t.payload, t.attempts FROM taken t ORDER BY t.run_at, t.job_id
$$;
COMMENT ON FUNCTION claim_jobs IS 'A job whose worker dies comes up again when its lease ends.';

-- Whoever lost a job to the end of its lease has no say in it any more: the attempt tells.
CREATE FUNCTION finish_job(wanted uuid, attempt integer) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$ DELETE FROM job WHERE job_id = wanted AND attempts = attempt $$;

CREATE FUNCTION retry_job(wanted uuid, attempt integer, after interval, error text, give_up boolean) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  UPDATE job SET run_at = now() + after, leased_until = NULL, last_error = left(error, 500),
                 status = CASE WHEN give_up THEN 'failed' ELSE 'waiting' END
  WHERE job_id = wanted AND attempts = attempt
$$;

CREATE FUNCTION job_queue()
RETURNS TABLE (waiting bigint, failed bigint, oldest_seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT count(*) FILTER (WHERE status = 'waiting' AND run_at <= now()),
         count(*) FILTER (WHERE status = 'failed'),
         coalesce(extract(epoch FROM max(now() - run_at) FILTER (WHERE status = 'waiting' AND run_at <= now())), 0)
  FROM job
$$;

-- Quotas ----------------------------------------------------------------------------------------

-- The bucket's row, made when it is new and held until the transaction ends.
CREATE FUNCTION hold_bucket(wanted bytea) RETURNS rate_bucket
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  b rate_bucket;
BEGIN
  LOOP
    SELECT * INTO b FROM rate_bucket WHERE bucket = wanted FOR UPDATE;
    IF FOUND THEN
      RETURN b;
    END IF;
    INSERT INTO rate_bucket (bucket, level, since) VALUES (wanted, 0, clock_timestamp())
    ON CONFLICT (bucket) DO NOTHING;
  END LOOP;
END $$;

CREATE FUNCTION lease_window(wanted bytea, quota integer, span interval, most integer)
RETURNS TABLE (granted integer, remaining integer, resets_in interval)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  b rate_bucket := hold_bucket(wanted);
  -- Read under the lock, so that it runs backwards only where the clock was put back.
  here timestamptz := clock_timestamp();
  give integer;
BEGIN
  IF here >= b.since + span OR here < b.since - span THEN
    b.level := 0;
    b.since := here;
  END IF;
  give := greatest(0, least(most, quota - b.level::integer));
  UPDATE rate_bucket SET level = b.level + give, since = b.since WHERE bucket = wanted;
  RETURN QUERY SELECT give, greatest(0, quota - b.level::integer - give), least(span, b.since + span - here);
END $$;
COMMENT ON FUNCTION lease_window IS 'A fixed window: quota requests in each span, handed out in blocks.';

CREATE FUNCTION lease_leaky(wanted bytea, capacity integer, leak_per_second double precision, most integer)
RETURNS TABLE (granted integer, remaining integer, resets_in interval)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  b rate_bucket := hold_bucket(wanted);
  here timestamptz := clock_timestamp();
  give integer;
BEGIN
  -- A clock that was put back leaks nothing once, and goes on from there.
  b.level := greatest(0, b.level - leak_per_second * greatest(0, extract(epoch FROM here - b.since)));
  give := greatest(0, least(most, floor(capacity - b.level)::integer));
  UPDATE rate_bucket SET level = b.level + give, since = here WHERE bucket = wanted;
  RETURN QUERY SELECT give, greatest(0, floor(capacity - b.level - give)::integer),
    make_interval(secs => CASE WHEN give > 0 THEN 0
                               ELSE (b.level + 1 - capacity) / greatest(leak_per_second, 0.001) END);
END $$;
COMMENT ON FUNCTION lease_leaky IS 'A bucket of capacity that leaks: resets_in says when one more fits.';

-- What is past its time goes in small batches.
CREATE FUNCTION sweep_directory(how_many integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  gone integer := 0;
  n integer;
BEGIN
  -- One sweep at a time.
  IF NOT pg_try_advisory_xact_lock(hashtext('sweep_directory')) THEN
    RETURN 0;
  END IF;
  DELETE FROM once WHERE scope_hash IN (SELECT scope_hash FROM once WHERE expires_at <= now() LIMIT how_many);
  GET DIAGNOSTICS n = ROW_COUNT; gone := gone + n;
  DELETE FROM session WHERE token_hash IN (
    SELECT token_hash FROM session WHERE expires_at <= now() LIMIT how_many);
  GET DIAGNOSTICS n = ROW_COUNT; gone := gone + n;
  DELETE FROM one_time_link WHERE token_hash IN (
    SELECT token_hash FROM one_time_link WHERE expires_at <= now() - interval '1 day' LIMIT how_many);
  GET DIAGNOSTICS n = ROW_COUNT; gone := gone + n;
  DELETE FROM rate_bucket WHERE bucket IN (
    SELECT bucket FROM rate_bucket WHERE since < now() - interval '1 day' LIMIT how_many);
  GET DIAGNOSTICS n = ROW_COUNT; gone := gone + n;
  RETURN gone;
END $$;
