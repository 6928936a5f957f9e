-- What is asked before each change of a quantity over HTTP, in one call: the tenant is set, then the variant that is meant
-- is looked up. It runs with the caller's rights, under row-level security.
CREATE FUNCTION find_counted(
  for_merchants uuid[], at_stores uuid[], wanted_products uuid[], wanted_variants uuid[], by_users uuid[]
)
RETURNS TABLE (
  line integer, variant_id uuid, has_variants boolean, track_quantity boolean, currency text, user_name text
)
LANGUAGE plpgsql AS $$
BEGIN
  FOR n IN 1 .. cardinality(wanted_products) LOOP
    PERFORM set_config('app.merchant_id', for_merchants[n]::text, true);
    RETURN QUERY
    SELECT n, v.variant_id, p.kind = 'variant', p.track_quantity, s.currency,
           nullif(trim(u.first_name || ' ' || u.last_name), '')
    FROM product p
    JOIN store s ON s.merchant_id = p.merchant_id AND s.store_id = at_stores[n]
    LEFT JOIN LATERAL (
      SELECT x.variant_id FROM variant x
      WHERE x.merchant_id = p.merchant_id AND x.product_id = p.product_id AND NOT x.archived
        AND (x.variant_id = wanted_variants[n] OR (wanted_variants[n] IS NULL AND p.kind = 'simple'))
      ORDER BY x.position, x.variant_id LIMIT 1
    ) v ON true
    LEFT JOIN user_account u ON u.merchant_id = p.merchant_id AND u.user_id = by_users[n]
    WHERE p.merchant_id = for_merchants[n] AND p.product_id = wanted_products[n] AND p.status <> 'archived';
  END LOOP;
END $$;
COMMENT ON FUNCTION find_counted IS
  'For each line the variant of a simple product, or the named one of any other; no row for no product, no variant_id for none of it.';
