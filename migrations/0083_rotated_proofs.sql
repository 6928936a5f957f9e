-- Tokens that were rotated work on for a while: revoked_at is when they end, or ended.

CREATE OR REPLACE FUNCTION resolve_access_token(wanted bytea)
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
    WHERE t.token_hash = wanted AND (t.revoked_at IS NULL OR t.revoked_at > now());
END $$;

CREATE OR REPLACE FUNCTION revoke_access_token(wanted uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE access_token SET revoked_at = now()
  WHERE token_id = wanted AND merchant_id = current_merchant() AND (revoked_at IS NULL OR revoked_at > now());
  RETURN FOUND;
END $$;

CREATE FUNCTION tokens_of(at_store uuid)
RETURNS TABLE (token_id uuid, name text, scopes text[], created_at timestamptz, ends_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT t.token_id, t.name, t.scopes, t.created_at, t.revoked_at FROM access_token t
  WHERE t.merchant_id = current_merchant() AND t.store_id = at_store
    AND (t.revoked_at IS NULL OR t.revoked_at > now())
$$;
COMMENT ON FUNCTION tokens_of IS 'Those of one store of the current merchant that work.';

CREATE FUNCTION retire_access_token(wanted uuid, after interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE access_token SET revoked_at = now() + after
  WHERE token_id = wanted AND merchant_id = current_merchant() AND revoked_at IS NULL;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION retire_access_token IS 'False for one that ends already: it is retired once.';
