-- Text search runs as a role of its own: under row-level security PostgreSQL does not use an index for
-- conditions that are not leakproof. The functions name the merchant themselves and give out ids alone.

CREATE INDEX product_words ON product USING gin (merchant_id, sort_name gin_trgm_ops);
CREATE INDEX variant_words ON variant USING gin (merchant_id, sku_key gin_trgm_ops);
CREATE INDEX variant_barcodes ON variant USING gin (merchant_id, barcode gin_trgm_ops);

GRANT SELECT ON product, variant TO kasuwa_search;
CREATE POLICY search ON product FOR SELECT TO kasuwa_search USING (true);
CREATE POLICY search ON variant FOR SELECT TO kasuwa_search USING (true);
GRANT USAGE, CREATE ON SCHEMA public TO kasuwa_search;

CREATE FUNCTION find_products(wanted text, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
-- The plan depends on the words: a generic one would read every product of the merchant.
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  -- `wanted` comes as sort names are written. What LIKE reads as a wildcard is looked for as it stands.
  pattern text := '%' || regexp_replace(wanted, '([\\%_])', '\\\1', 'g') || '%';
BEGIN
  RETURN QUERY
    SELECT found.product_id FROM (
      SELECT p.product_id FROM product p
      WHERE p.merchant_id = current_merchant() AND p.sort_name LIKE pattern
      UNION
      SELECT v.product_id FROM variant v
      WHERE v.merchant_id = current_merchant() AND v.sku_key LIKE pattern
      UNION
      SELECT v.product_id FROM variant v
      WHERE v.merchant_id = current_merchant() AND v.barcode LIKE pattern
    ) found
    LIMIT most;
END $$;
ALTER FUNCTION find_products OWNER TO kasuwa_search;
REVOKE CREATE ON SCHEMA public FROM kasuwa_search;
