-- The first page of every till and back office, as one call: the tenant is set, then cards and live stock are
-- put together here. It runs with the caller's rights, under row-level security.
CREATE FUNCTION product_page(
  for_merchant uuid, in_dialect text, at_store uuid, wanted_status text, with_cost boolean, live text,
  how_many integer, skipped integer,
  OUT data bytea, OUT shown bigint, OUT total bigint, OUT last_sort_name text, OUT last_product_id uuid,
  OUT is_plain boolean
)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM set_config('app.merchant_id', for_merchant::text, true);
  -- The laterals cannot be pulled up: the generic plan takes a page for a tenth of the shop, and would rather
  -- hash all of its cards and balances.
  SELECT convert_to(string_agg(r.body || r.stock, ',' ORDER BY r.sort_name, r.product_id), 'UTF8'),
         count(*),
         (SELECT coalesce(sum(c.value), 0)::bigint FROM merchant_counter c
          WHERE c.merchant_id = for_merchant AND c.name = 'products.' || wanted_status),
         max(r.sort_name),
         (array_agg(r.product_id ORDER BY r.sort_name DESC, r.product_id DESC))[1],
         coalesce(bool_and(r.kind = 'simple' AND (r.stale_at IS NULL OR r.stale_at > now())), true)
  INTO data, shown, total, last_sort_name, last_product_id, is_plain
  FROM (
    SELECT p.product_id, p.sort_name, p.kind, c.stale_at,
           CASE WHEN with_cost THEN c.body ELSE coalesce(c.body_without_cost, c.body) END AS body,
           format(
             live,
             CASE WHEN p.track_quantity THEN trim_scale(coalesce(b.on_hand, 0))::text ELSE 'null' END,
             trim_scale(coalesce(b.reserved, 0))::text,
             CASE WHEN p.track_quantity THEN trim_scale(coalesce(b.on_hand - b.reserved, 0))::text ELSE 'null' END,
             coalesce(trim_scale(b.reorder_level)::text, 'null'),
             coalesce(trim_scale(b.reorder_quantity)::text, 'null'),
             coalesce(p.track_quantity AND b.is_low, false)::text
           ) AS stock
    FROM (
      SELECT p.product_id, p.sort_name, p.kind, p.track_quantity
      FROM product p
      WHERE p.merchant_id = for_merchant AND p.status = wanted_status
      ORDER BY p.sort_name, p.product_id
      LIMIT how_many OFFSET skipped
    ) p
    CROSS JOIN LATERAL (
      SELECT c.body, c.body_without_cost, c.stale_at FROM product_card c
      WHERE c.merchant_id = for_merchant AND c.dialect = in_dialect AND c.product_id = p.product_id
      LIMIT 1
    ) c
    -- A simple product has one variant, so one balance at a store; for the others the page is read otherwise.
    LEFT JOIN LATERAL (
      SELECT s.on_hand, s.reserved, s.reorder_level, s.reorder_quantity, s.is_low FROM stock_balance s
      WHERE s.merchant_id = for_merchant AND s.product_id = p.product_id AND s.store_id = at_store
      LIMIT 1
    ) b ON true
  ) r;
END $$;
COMMENT ON FUNCTION product_page IS
  'One page by name, its rows as UTF-8. `live` is a format() text that gets quantity, reserved, available, reorder level, reorder
   quantity and whether stock is low, as JSON values, and closes the object that a card leaves open. Where is_plain is false some card
   is stale or has variants, and the page must be read the long way.';
