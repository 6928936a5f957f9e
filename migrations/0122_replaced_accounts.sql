-- A switch of the store replaces the account's access token as it replaces the session.
CREATE FUNCTION account_session_of(of_user uuid, in_login uuid, at_store uuid) RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  -- One that was never used has not ended what it was to replace: that ends with it.
  SELECT coalesce(s.replaces, s.token_hash) FROM session s
  WHERE s.merchant_id = current_merchant() AND s.user_id = of_user AND s.login_id = in_login
    AND s.kind = 'account' AND s.store_id = at_store
  ORDER BY s.created_at DESC, s.session_id DESC LIMIT 1
$$;
COMMENT ON FUNCTION account_session_of IS 'The hash of the token to be replaced: the newest that one log-in has at a store.';
