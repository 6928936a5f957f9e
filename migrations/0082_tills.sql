-- A device that the people of a store share: they enter by PIN, one at a time.

CREATE FUNCTION end_sessions_at_till(wanted uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  ended integer;
BEGIN
  -- One person enters at a time: the next one sees the session of whoever came before.
  PERFORM FROM session t WHERE t.merchant_id = current_merchant() AND t.session_id = wanted FOR NO KEY UPDATE;
  DELETE FROM session s WHERE s.merchant_id = current_merchant() AND s.till_id = wanted;
  GET DIAGNOSTICS ended = ROW_COUNT;
  RETURN ended;
END $$;
COMMENT ON FUNCTION end_sessions_at_till IS 'How many that a PIN opened at the till have ended now.';
CREATE INDEX session_at_till ON session (till_id) WHERE till_id IS NOT NULL;
