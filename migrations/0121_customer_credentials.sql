-- What a customer's log-in is compared with, in one call. For a name that nobody has, the same is asked with an id
-- that nobody has.
CREATE FUNCTION find_customer_credentials(of_merchant uuid, wanted text, no_customer uuid)
RETURNS TABLE (customer_id uuid, password_hash text, status text)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  named uuid;
BEGIN
  PERFORM set_config('app.merchant_id', of_merchant::text, true);
  -- Of several who say that an unproved address is theirs it is the one who said so first.
  SELECT n.customer_id INTO named FROM customer_name n
  WHERE n.merchant_id = current_merchant() AND n.name = wanted ORDER BY n.is_sure DESC, n.customer_id LIMIT 1;
  RETURN QUERY
  SELECT c.customer_id, c.password_hash, c.status FROM customer c
  WHERE c.merchant_id = current_merchant() AND c.customer_id = coalesce(named, no_customer);
END $$;
COMMENT ON FUNCTION find_customer_credentials IS 'The customer who logs in by this name, as the role of the application sees it; no row for no customer.';
