-- What is asked before each change of a quantity over HTTP, in one call: the tenant is set, then the variant that is meant
-- is looked up. It runs with the caller's rights, under row-level security.
CREATE FUNCTION find_counted(
  for_merchant uuid, at_store uuid, wanted_product uuid, wanted_variant uuid, by_user uuid
)
RETURNS TABLE (variant_id uuid, has_variants boolean, track_quantity boolean, currency text, user_name text)
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('app.merchant_id', for_merchant::text, true);
  RETURN QUERY
  SELECT v.variant_id, p.kind = 'variant', p.track_quantity, s.currency,
         nullif(trim(u.first_name || ' ' || u.last_name), '')
  FROM product p
  JOIN store s ON s.merchant_id = p.merchant_id AND s.store_id = at_store
  LEFT JOIN LATERAL (
    SELECT x.variant_id FROM variant x
    WHERE x.merchant_id = p.merchant_id AND x.product_id = p.product_id AND NOT x.archived
      AND (x.variant_id = wanted_variant OR (wanted_variant IS NULL AND p.kind = 'simple'))
    ORDER BY x.position, x.variant_id LIMIT 1
  ) v ON true
  LEFT JOIN user_account u ON u.merchant_id = p.merchant_id AND u.user_id = by_user
  WHERE p.merchant_id = for_merchant AND p.product_id = wanted_product AND p.status <> 'archived';
END $$;
COMMENT ON FUNCTION find_counted IS
  'The variant of a simple product, or the named one of any other; no row for no product, no variant_id for none of it.';
