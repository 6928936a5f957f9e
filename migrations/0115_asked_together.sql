-- Look-ups that many wait for have a form that answers several in one statement; equal ones are asked once.

CREATE FUNCTION read_session(wanted bytea, wanted_kind text)
RETURNS TABLE (
  merchant_id uuid, user_id uuid, store_id uuid, original_store_id uuid, role text, extra_permissions text[],
  expires_at timestamptz, session_id uuid, login_id uuid, till_id uuid, is_settled boolean
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
BEGIN
  SELECT * INTO s FROM session t WHERE t.token_hash = wanted AND t.kind = wanted_kind;
  IF NOT FOUND OR now() >= s.expires_at OR now() >= s.last_seen_at + s.idle_after THEN
    RETURN;
  END IF;
  -- Whoever entered at a till leaves with it. It is looked for among the sessions of whoever opened it.
  IF s.till_id IS NOT NULL AND NOT EXISTS (SELECT FROM session t WHERE t.session_id = s.till_id) THEN
    RETURN;
  END IF;
  PERFORM set_config('app.merchant_id', s.merchant_id::text, true);
  RETURN QUERY
    SELECT s.merchant_id, s.user_id, s.store_id, s.original_store_id, m.role, m.extra_permissions, s.expires_at,
           s.session_id, s.login_id, s.till_id,
           s.replaces IS NULL AND s.last_seen_at >= now() - interval '1 minute'
    FROM membership m
    JOIN user_account u ON u.merchant_id = m.merchant_id AND u.user_id = m.user_id
    JOIN merchant t ON t.merchant_id = m.merchant_id
    JOIN store l ON l.merchant_id = m.merchant_id AND l.store_id = m.store_id
    WHERE m.merchant_id = s.merchant_id AND m.user_id = s.user_id AND m.store_id = s.store_id
      AND m.status = 'active' AND u.status = 'active' AND t.status = 'active' AND l.status = 'active';
END $$;
COMMENT ON FUNCTION read_session IS
  'Whose session it is, without a trace of its use. Settled: resolve_session() would write nothing.';

CREATE FUNCTION read_sessions(wanted bytea[], wanted_kinds text[])
RETURNS TABLE (
  line integer, merchant_id uuid, user_id uuid, store_id uuid, original_store_id uuid, role text,
  extra_permissions text[], expires_at timestamptz, session_id uuid, login_id uuid, till_id uuid,
  is_settled boolean
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  FOR n IN 1 .. cardinality(wanted) LOOP
    RETURN QUERY SELECT n, r.* FROM read_session(wanted[n], wanted_kinds[n]) r;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION resolve_session(wanted bytea, wanted_kind text)
RETURNS TABLE (
  merchant_id uuid, user_id uuid, store_id uuid, original_store_id uuid, role text, extra_permissions text[],
  expires_at timestamptz, session_id uuid, login_id uuid, till_id uuid
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
BEGIN
  IF NOT EXISTS (SELECT FROM read_session(wanted, wanted_kind)) THEN
    RETURN;
  END IF;
  SELECT * INTO s FROM session t WHERE t.token_hash = wanted AND t.kind = wanted_kind;
  IF s.replaces IS NOT NULL THEN
    -- The first use of a token ends the one it took over from, and others that would have taken over too.
    DELETE FROM session t WHERE t.token_hash = s.replaces;
    DELETE FROM session t WHERE t.replaces = s.replaces AND t.token_hash <> wanted;
    UPDATE session t SET replaces = NULL, last_seen_at = now() WHERE t.token_hash = wanted;
    IF NOT FOUND THEN
      RETURN;  -- one of those was used in the same moment
    END IF;
  ELSIF s.last_seen_at < now() - interval '1 minute' THEN
    UPDATE session t SET last_seen_at = now()
    WHERE t.token_hash = wanted AND t.last_seen_at < now() - interval '1 minute';
  END IF;
  RETURN QUERY
    SELECT r.merchant_id, r.user_id, r.store_id, r.original_store_id, r.role, r.extra_permissions, r.expires_at,
           r.session_id, r.login_id, r.till_id
    FROM read_session(wanted, wanted_kind) r;
END $$;

CREATE FUNCTION find_counted_each(
  for_merchants uuid[], at_stores uuid[], wanted_products uuid[], wanted_variants uuid[], by_users uuid[]
)
RETURNS TABLE (
  line integer, variant_id uuid, has_variants boolean, track_quantity boolean, currency text, user_name text
)
LANGUAGE plpgsql AS $$
BEGIN
  FOR n IN 1 .. cardinality(wanted_products) LOOP
    RETURN QUERY
    SELECT n, c.* FROM find_counted(
      for_merchants[n], at_stores[n], wanted_products[n], wanted_variants[n], by_users[n]) c;
  END LOOP;
END $$;
