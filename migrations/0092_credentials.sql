-- What a log-in is compared with, in one call: who has the name is asked for first, then what is kept of them under
-- their own merchant. For a name that nobody has, the same is asked with ids that nobody has.
CREATE FUNCTION find_credentials(name text, no_merchant uuid, no_user uuid)
RETURNS TABLE (merchant_id uuid, user_id uuid, password_hash text, status text, has_second_factor boolean)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  login record;
BEGIN
  SELECT f.merchant_id, f.user_id INTO login FROM find_login(name) f;
  PERFORM set_config('app.merchant_id', coalesce(login.merchant_id, no_merchant)::text, true);
  RETURN QUERY
  SELECT u.merchant_id, u.user_id, u.password_hash,
         CASE WHEN m.status = 'active' THEN u.status ELSE m.status END,
         EXISTS (SELECT FROM second_factor f
                 WHERE f.merchant_id = u.merchant_id AND f.user_id = u.user_id AND f.confirmed_at IS NOT NULL)
  FROM user_account u JOIN merchant m ON m.merchant_id = u.merchant_id
  WHERE u.merchant_id = current_merchant() AND u.user_id = coalesce(login.user_id, no_user);
END $$;
COMMENT ON FUNCTION find_credentials IS 'The account that logs in by this name, as the role of the application sees it; no row for no account.';
