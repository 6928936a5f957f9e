-- Sessions of customers. They lie in a table of their own, which nothing that lets staff in ever looks at.

INSERT INTO directory_table (name, reason) VALUES
  ('customer_session', 'the hash of a customer''s token finds merchant, customer and store');

CREATE TABLE customer_session (
  token_hash bytea PRIMARY KEY,
  merchant_id uuid NOT NULL,
  customer_id uuid NOT NULL,
  store_id uuid NOT NULL,
  idle_after interval NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX customer_session_of ON customer_session (merchant_id, customer_id);
CREATE INDEX customer_session_expires ON customer_session (expires_at);
REVOKE ALL ON customer_session FROM PUBLIC, kasuwa_app;

CREATE FUNCTION open_customer_session(
  new_hash bytea, for_customer uuid, at_store uuid, idle interval, absolute interval
) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  ends timestamptz := now() + absolute;
BEGIN
  -- Each new one sweeps a few that are over; one that another transaction holds is left to it.
  DELETE FROM customer_session WHERE token_hash IN (
    SELECT token_hash FROM customer_session WHERE expires_at <= now() ORDER BY expires_at LIMIT 10
    FOR UPDATE SKIP LOCKED);
  INSERT INTO customer_session (token_hash, merchant_id, customer_id, store_id, idle_after, expires_at)
  VALUES (new_hash, current_merchant(), for_customer, at_store, idle, ends);
  RETURN ends;
END $$;

-- Asked at every request: a suspension or an erasure holds from the next one on, on every worker.
CREATE FUNCTION resolve_customer_session(wanted bytea)
RETURNS TABLE (merchant_id uuid, customer_id uuid, store_id uuid, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s customer_session;
BEGIN
  SELECT * INTO s FROM customer_session WHERE token_hash = wanted;
  IF NOT FOUND OR now() >= s.expires_at OR now() >= s.last_seen_at + s.idle_after THEN
    RETURN;
  END IF;
  IF s.last_seen_at < now() - interval '1 minute' THEN
    UPDATE customer_session SET last_seen_at = now()
    WHERE token_hash = wanted AND last_seen_at < now() - interval '1 minute';
  END IF;
  RETURN QUERY
    SELECT s.merchant_id, s.customer_id, s.store_id, s.expires_at
    FROM customer c
    JOIN merchant t ON t.merchant_id = c.merchant_id AND t.status = 'active'
    JOIN store l ON l.merchant_id = c.merchant_id AND l.store_id = s.store_id AND l.status = 'active'
    WHERE c.merchant_id = s.merchant_id AND c.customer_id = s.customer_id AND c.status = 'active';
END $$;

CREATE FUNCTION end_customer_sessions(wanted uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  ended integer;
BEGIN
  DELETE FROM customer_session WHERE merchant_id = current_merchant() AND customer_id = wanted;
  GET DIAGNOSTICS ended = ROW_COUNT;
  RETURN ended;
END $$;
COMMENT ON FUNCTION end_customer_sessions IS 'How many sessions of the customer have ended now.';

CREATE FUNCTION sessions_of_customer(wanted uuid)
RETURNS TABLE (store_id uuid, created_at timestamptz, last_seen_at timestamptz, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT c.store_id, c.created_at, c.last_seen_at, c.expires_at FROM customer_session c
  WHERE c.merchant_id = current_merchant() AND c.customer_id = wanted ORDER BY c.created_at, c.token_hash
$$;
