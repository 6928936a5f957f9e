-- Products with variants. The options are the product's; each variant has one value of each. What the shop
-- keeps of the product itself (its own SKU and barcode, the price that holds for variants without one, and of
-- one that was simple the ledger) is the variant at position 0, which is not sold.

ALTER TABLE product ADD COLUMN options jsonb NOT NULL DEFAULT '[]';

ALTER TABLE variant
  ADD COLUMN own_price boolean NOT NULL DEFAULT true,
  ADD COLUMN product_picture_id uuid,
  -- Taken off its product; kept because movements or sales refer to it.
  ADD COLUMN removed_at timestamptz,
  ADD FOREIGN KEY (merchant_id, product_picture_id)
    REFERENCES product_picture (merchant_id, product_picture_id) ON DELETE SET NULL (product_picture_id);
COMMENT ON COLUMN variant.own_price IS 'False: its row in price is a copy of the product''s, and follows it.';

CREATE INDEX variant_picture ON variant (merchant_id, product_picture_id) WHERE product_picture_id IS NOT NULL;
CREATE UNIQUE INDEX variant_base ON variant (merchant_id, product_id) WHERE position = 0;
-- A combination is sold once. As a hash: values may be longer than an index holds.
CREATE UNIQUE INDEX variant_choice ON variant (merchant_id, product_id, md5(options::text))
  WHERE removed_at IS NULL AND options <> '[]';
-- What is deleted takes its balances with it: without this the foreign key reads all of the merchant's.
CREATE INDEX stock_balance_variant ON stock_balance (merchant_id, variant_id);

-- Products with variants that an API made before: options in the order they were sent, then what the variants
-- know beyond that; the picture of a variant by its place on the product.
UPDATE product p SET
  options = coalesce((
    SELECT jsonb_agg(jsonb_build_object('name', o.name, 'values', o.names) ORDER BY o.place)
    FROM (
      SELECT s.name, min(s.place) AS place, (
        SELECT jsonb_agg(u.value ORDER BY u.place) FROM (
          SELECT k.value, min(k.place) AS place FROM (
            SELECT t.value, t.place FROM jsonb_array_elements(coalesce(p.extra #> '{shoplazza,options}', '[]')) x
            CROSS JOIN LATERAL jsonb_array_elements_text(x -> 'values') WITH ORDINALITY t (value, place)
            WHERE x ->> 'name' = s.name
            UNION ALL
            SELECT c ->> 'value', 1000 + v.position FROM variant v, jsonb_array_elements(v.options) c
            WHERE v.merchant_id = p.merchant_id AND v.product_id = p.product_id AND c ->> 'name' = s.name
          ) k GROUP BY k.value
        ) u
      ) AS names
      FROM (
        SELECT x ->> 'name' AS name, place
        FROM jsonb_array_elements(coalesce(p.extra #> '{shoplazza,options}', '[]')) WITH ORDINALITY t (x, place)
        UNION ALL
        SELECT c ->> 'name', 1000 + place FROM variant v
        CROSS JOIN LATERAL jsonb_array_elements(v.options) WITH ORDINALITY t (c, place)
        WHERE v.merchant_id = p.merchant_id AND v.product_id = p.product_id
      ) s GROUP BY s.name
    ) o
  ), '[]'),
  extra = p.extra #- '{shoplazza,options}'
WHERE p.kind = 'variant';

UPDATE variant v SET
  product_picture_id = (
    SELECT s.product_picture_id FROM product_picture s
    WHERE s.merchant_id = v.merchant_id AND s.product_id = v.product_id
      AND s.picture_id::text = v.extra #>> '{shoplazza,picture_id}'
    ORDER BY s.sort_order, s.number LIMIT 1
  ),
  extra = v.extra #- '{shoplazza,picture_id}'
WHERE v.extra #> '{shoplazza,picture_id}' IS NOT NULL;

DO $$
DECLARE
  p record;
  n bigint;
  base uuid;
  code text;
BEGIN
  FOR p IN SELECT merchant_id, product_id FROM product WHERE kind = 'variant' ORDER BY 1, 2 LOOP
    PERFORM set_config('app.merchant_id', p.merchant_id::text, true);
    n := take_numbers('variant');
    base := gen_random_uuid();
    code := 'K-' || lpad(n::text, greatest(6, length(n::text)), '0');
    IF EXISTS (SELECT FROM variant v WHERE v.merchant_id = p.merchant_id AND v.sku_key = lower(code)) THEN
      code := code || '-' || upper(left(base::text, 8));
    END IF;
    INSERT INTO variant (merchant_id, variant_id, product_id, number, position, sku, sku_key, archived)
    SELECT p.merchant_id, base, p.product_id, n, 0, code, lower(code), status = 'archived'
    FROM product WHERE merchant_id = p.merchant_id AND product_id = p.product_id;
    INSERT INTO price (merchant_id, variant_id, currency, selling_minor, cost_minor)
    SELECT merchant_id, base, currency, selling_minor, cost_minor FROM price
    WHERE merchant_id = p.merchant_id AND store_id IS NULL AND variant_id = (
      SELECT v.variant_id FROM variant v
      WHERE v.merchant_id = p.merchant_id AND v.product_id = p.product_id AND v.position > 0
      ORDER BY v.position, v.variant_id LIMIT 1);
    INSERT INTO stock_balance (merchant_id, store_id, variant_id, product_id)
    SELECT DISTINCT merchant_id, store_id, base, product_id FROM stock_balance
    WHERE merchant_id = p.merchant_id AND product_id = p.product_id;
  END LOOP;
  PERFORM set_config('app.merchant_id', '', true);
END $$;

UPDATE stock_balance b SET is_part = true, closed = b.closed OR v.position = 0
FROM variant v JOIN product p USING (merchant_id, product_id)
WHERE v.merchant_id = b.merchant_id AND v.variant_id = b.variant_id AND p.kind = 'variant';
