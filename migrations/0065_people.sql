-- People of a store: what holds at one location only, and what ends there.

ALTER TABLE membership
  -- A keyed hash: a PIN of four digits does not hide behind a plain one.
  ADD COLUMN pos_pin_mark bytea,
  ADD COLUMN created_by uuid,
  ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX membership_of_store ON membership (merchant_id, store_id, user_id);

-- Whoever was invited has one address; the other one is '' until they give it.
ALTER TABLE user_account ADD COLUMN last_login_at timestamptz;

CREATE FUNCTION end_sessions_at(wanted uuid, at_store uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  ended integer;
BEGIN
  DELETE FROM session WHERE merchant_id = current_merchant() AND user_id = wanted AND store_id = at_store;
  GET DIAGNOSTICS ended = ROW_COUNT;
  RETURN ended;
END $$;
COMMENT ON FUNCTION end_sessions_at IS 'How many sessions of the user at the store have ended now.';

CREATE FUNCTION drop_logins_of(wanted uuid, of_kind text DEFAULT NULL, but_for text DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  DELETE FROM login_name
  WHERE merchant_id = current_merchant() AND user_id = wanted
    AND (of_kind IS NULL OR kind = of_kind) AND (but_for IS NULL OR name <> but_for)
$$;
