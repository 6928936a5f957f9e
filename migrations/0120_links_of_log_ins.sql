-- The link that a log-in gives for the web ends with what that log-in opened, not only after its minutes.

ALTER TABLE one_time_link ADD COLUMN login_id uuid;

-- The first four parameters are those of before: a worker that is about to be replaced calls it with them.
DROP FUNCTION add_link(bytea, text, uuid, interval);
CREATE FUNCTION add_link(
  new_hash bytea, for_purpose text, for_user uuid, lifetime interval, in_login uuid DEFAULT NULL
) RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  INSERT INTO one_time_link (token_hash, purpose, merchant_id, user_id, expires_at, login_id)
  VALUES (new_hash, for_purpose, current_merchant(), for_user, now() + lifetime, in_login)
  RETURNING expires_at
$$;

CREATE FUNCTION link_works(link one_time_link) RETURNS boolean
LANGUAGE sql STABLE SET search_path = public, pg_temp
AS $$
  SELECT link.expires_at > now() AND (link.login_id IS NULL OR EXISTS (
    SELECT FROM session s
    WHERE s.merchant_id = link.merchant_id AND s.user_id = link.user_id AND s.login_id = link.login_id))
$$;
COMMENT ON FUNCTION link_works IS 'Until its time is over, and while anything is left of the log-in that it came from.';

CREATE OR REPLACE FUNCTION find_link(wanted bytea, for_purpose text)
RETURNS TABLE (merchant_id uuid, user_id uuid, was_used boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT l.merchant_id, l.user_id, l.used_at IS NOT NULL FROM one_time_link l
  WHERE l.token_hash = wanted AND l.purpose = for_purpose AND link_works(l)
    AND NOT is_leaving(l.merchant_id)
$$;

CREATE OR REPLACE FUNCTION use_link(wanted bytea, for_purpose text)
RETURNS TABLE (merchant_id uuid, user_id uuid, was_used boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  RETURN QUERY
    WITH link AS (
      SELECT l.token_hash, l.used_at FROM one_time_link l
      WHERE l.token_hash = wanted AND l.purpose = for_purpose AND link_works(l)
      FOR UPDATE
    )
    UPDATE one_time_link l SET used_at = coalesce(l.used_at, now())
    FROM link WHERE l.token_hash = link.token_hash
    RETURNING l.merchant_id, l.user_id, link.used_at IS NOT NULL;
END $$;
