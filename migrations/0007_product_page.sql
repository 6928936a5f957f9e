-- The first page of every till and back office, as one call: the tenant is set, then cards and live stock are
-- put together here. It runs with the caller's rights, under row-level security.
CREATE FUNCTION product_page(
  for_merchant uuid, in_dialect text, at_store uuid, wanted_status text, with_cost boolean, live text,
  how_many integer, skipped integer
) RETURNS TABLE (data text, shown bigint, total bigint, last_sort_name text, last_product_id uuid, is_plain boolean)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM set_config('app.merchant_id', for_merchant::text, true);
  RETURN QUERY
    WITH page AS (
      SELECT p.product_id, p.sort_name, p.kind, p.track_quantity
      FROM product p
      WHERE p.merchant_id = for_merchant AND p.status = wanted_status
      ORDER BY p.sort_name, p.product_id
      LIMIT how_many OFFSET skipped
    ), row AS (
      SELECT p.product_id, p.sort_name, p.kind, c.stale_at,
             CASE WHEN with_cost THEN c.body ELSE coalesce(c.body_without_cost, c.body) END AS body,
             format(
               live,
               CASE WHEN p.track_quantity THEN trim_scale(b.on_hand)::text ELSE 'null' END,
               trim_scale(b.reserved)::text,
               CASE WHEN p.track_quantity THEN trim_scale(b.on_hand - b.reserved)::text ELSE 'null' END,
               coalesce(trim_scale(b.reorder_level)::text, 'null'),
               coalesce(trim_scale(b.reorder_quantity)::text, 'null'),
               coalesce(p.track_quantity AND b.on_hand - b.reserved <= b.reorder_level, false)::text
             ) AS stock
      FROM page p
      JOIN product_card c ON c.merchant_id = for_merchant AND c.dialect = in_dialect AND c.product_id = p.product_id
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(s.on_hand), 0) AS on_hand, coalesce(sum(s.reserved), 0) AS reserved,
               max(s.reorder_level) AS reorder_level, max(s.reorder_quantity) AS reorder_quantity
        FROM stock_balance s
        WHERE s.merchant_id = for_merchant AND s.product_id = p.product_id AND s.store_id = at_store
      ) b
    )
    SELECT string_agg(left(r.body, -1) || r.stock, ',' ORDER BY r.sort_name, r.product_id),
           count(*),
           (SELECT coalesce(sum(c.value), 0)::bigint FROM merchant_counter c
            WHERE c.merchant_id = for_merchant AND c.name = 'products.' || wanted_status),
           max(r.sort_name),
           (SELECT l.product_id FROM page l ORDER BY l.sort_name DESC, l.product_id DESC LIMIT 1),
           coalesce(bool_and(r.kind = 'simple' AND (r.stale_at IS NULL OR r.stale_at > now())), true)
    FROM row r;
END $$;
COMMENT ON FUNCTION product_page IS
  'One page by name. `live` is a format() text that gets quantity, reserved, available, reorder level, reorder
   quantity and whether stock is low, as JSON values, and closes the object. Where is_plain is false some card
   is stale or has variants, and the page must be read the long way.';
