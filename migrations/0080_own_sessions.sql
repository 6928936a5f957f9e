-- Sessions that their people can see and end: where each was opened, and which ones one log-in opened together.

ALTER TABLE session
  ADD COLUMN session_id uuid NOT NULL DEFAULT gen_random_uuid(),
  -- The sessions of one log-in, at each of its stores: logging out ends them together.
  ADD COLUMN login_id uuid NOT NULL DEFAULT gen_random_uuid(),
  ADD COLUMN address text NOT NULL DEFAULT '',
  ADD COLUMN user_agent text NOT NULL DEFAULT '',
  -- The till at which somebody entered by PIN: their session goes with it.
  ADD COLUMN till_id uuid;
CREATE INDEX session_by_id ON session (session_id);
ALTER TABLE session DROP CONSTRAINT session_kind_check;
-- NOT VALID: what is there keeps a narrower rule, and a long look at it would hold up every request.
ALTER TABLE session ADD CONSTRAINT session_kind_check
  CHECK (kind IN ('store', 'account', 'web', 'till')) NOT VALID;

-- The first nine parameters are those of before: a worker that is about to be replaced calls it with them.
DROP FUNCTION open_session(bytea, text, uuid, uuid, uuid, text, interval, interval, bytea);
CREATE FUNCTION open_session(
  new_hash bytea, new_kind text, for_user uuid, at_store uuid, from_store uuid,
  on_platform text, idle interval, absolute interval, replacing bytea,
  new_id uuid DEFAULT gen_random_uuid(), in_login uuid DEFAULT gen_random_uuid(),
  from_address text DEFAULT '', from_agent text DEFAULT '', at_till uuid DEFAULT NULL
) RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  INSERT INTO session (token_hash, kind, merchant_id, user_id, store_id, original_store_id, platform,
                       replaces, idle_after, expires_at, session_id, login_id, address, user_agent, till_id)
  VALUES (new_hash, new_kind, current_merchant(), for_user, at_store, from_store, on_platform,
          replacing, idle, now() + absolute, new_id, in_login, from_address, from_agent, at_till)
  RETURNING expires_at
$$;

CREATE FUNCTION hold_session(wanted uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM FROM session t WHERE t.merchant_id = current_merchant() AND t.session_id = wanted FOR SHARE;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION hold_session IS 'Whether the session is there still; nobody ends it before this transaction has.';

DROP FUNCTION resolve_session(bytea, text);
CREATE FUNCTION resolve_session(wanted bytea, wanted_kind text)
RETURNS TABLE (
  merchant_id uuid, user_id uuid, store_id uuid, original_store_id uuid, role text, extra_permissions text[],
  expires_at timestamptz, session_id uuid, login_id uuid, till_id uuid
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
  PERFORM set_config('app.merchant_id', s.merchant_id::text, true);
  RETURN QUERY
    SELECT s.merchant_id, s.user_id, s.store_id, s.original_store_id, m.role, m.extra_permissions, s.expires_at,
           s.session_id, s.login_id, s.till_id
    FROM membership m
    JOIN user_account u ON u.merchant_id = m.merchant_id AND u.user_id = m.user_id
    JOIN merchant t ON t.merchant_id = m.merchant_id
    JOIN store l ON l.merchant_id = m.merchant_id AND l.store_id = m.store_id
    WHERE m.merchant_id = s.merchant_id AND m.user_id = s.user_id AND m.store_id = s.store_id
      AND m.status = 'active' AND u.status = 'active' AND t.status = 'active' AND l.status = 'active';
END $$;

CREATE FUNCTION sessions_of(wanted uuid)
RETURNS TABLE (
  session_id uuid, login_id uuid, kind text, store_id uuid, platform text, user_agent text, address text,
  till_id uuid, created_at timestamptz, last_seen_at timestamptz, expires_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT s.session_id, s.login_id, s.kind, s.store_id, s.platform, s.user_agent, s.address, s.till_id,
         s.created_at, s.last_seen_at, least(s.expires_at, s.last_seen_at + s.idle_after)
  FROM session s
  WHERE s.merchant_id = current_merchant() AND s.user_id = wanted
    AND now() < s.expires_at AND now() < s.last_seen_at + s.idle_after
$$;
COMMENT ON FUNCTION sessions_of IS 'Those of one user of the current merchant that have not ended.';

CREATE FUNCTION end_sessions_by_id(of_user uuid, wanted uuid[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  ended integer;
BEGIN
  DELETE FROM session s
  WHERE s.merchant_id = current_merchant() AND s.user_id = of_user AND s.session_id = ANY (wanted);
  GET DIAGNOSTICS ended = ROW_COUNT;
  RETURN ended;
END $$;
COMMENT ON FUNCTION end_sessions_by_id IS 'How many of these sessions of the user have ended now.';
