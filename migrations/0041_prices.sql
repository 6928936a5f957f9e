-- Prices of one store, the cards that show them there, and the feed of price changes.

-- A price that one store has for itself stands in `price` beside the one that holds everywhere else. The cards of
-- such products at such stores lie here, in the same form; everybody else reads product_card alone.
CREATE TABLE store_card (
  merchant_id uuid NOT NULL,
  store_id uuid NOT NULL,
  product_id uuid NOT NULL,
  dialect text NOT NULL,
  body text NOT NULL,
  body_without_cost text,
  PRIMARY KEY (merchant_id, product_id, store_id, dialect),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id),
  FOREIGN KEY (merchant_id, product_id) REFERENCES product (merchant_id, product_id) ON DELETE CASCADE
);
ALTER TABLE store_card SET (toast_tuple_target = 8160);
ALTER TABLE store_card ALTER body SET STORAGE EXTERNAL, ALTER body_without_cost SET STORAGE EXTERNAL;
CALL protect_tenant('store_card');

-- Says that some store has a card of its own, so that a list does not look where nothing is. `stale_at` of the
-- common card counts for those of the stores too.
ALTER TABLE product_card ADD has_store_cards boolean NOT NULL DEFAULT false;

-- What changed, for whom, before and after. `change_id` rises in the order of the feed: its first 48 bits are
-- `changed_at` in milliseconds, as in any UUIDv7. A change without a store is one for every store but those in
-- `except_store_ids`, which have a price of their own and so a row of their own where it changed.
CREATE TABLE price_change (
  merchant_id uuid NOT NULL REFERENCES merchant,
  change_id uuid NOT NULL,
  store_id uuid,
  except_store_ids uuid[] NOT NULL DEFAULT '{}',
  changed_at timestamptz NOT NULL,
  kind text NOT NULL CHECK (kind IN ('created', 'price_changed', 'removed')),
  product_id uuid NOT NULL,
  -- NULL where the product is a simple one.
  variant_id uuid,
  sku text NOT NULL,
  barcode text,
  name text NOT NULL,
  before json,
  after json,
  -- Nothing for callers who may not see costs.
  is_cost_only boolean NOT NULL,
  reason text,
  user_id uuid,
  -- The line in the words of the API that tells the feed, without its brace, id and time, and the version of those
  -- words; a line of another version is put into words when it is read. NULL in the second: they are the same.
  line text NOT NULL DEFAULT '',
  line_without_cost text,
  line_version text NOT NULL DEFAULT '',
  PRIMARY KEY (merchant_id, change_id)
);
-- Unpacking lines and looking for them aside took nine tenths of a page: they stay in their row as they are.
ALTER TABLE price_change SET (toast_tuple_target = 8160);
ALTER TABLE price_change ALTER line SET STORAGE EXTERNAL, ALTER line_without_cost SET STORAGE EXTERNAL;
CREATE INDEX price_change_of_store ON price_change (merchant_id, store_id, change_id);
CALL protect_tenant('price_change');
CALL make_append_only('price_change');

CREATE FUNCTION price_change_id(at timestamptz, place bigint) RETURNS uuid
LANGUAGE sql VOLATILE AS $$
  SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
          || lpad(to_hex(place >> 14), 3, '0') || to_hex(8 + ((place >> 12) & 3)) || lpad(to_hex(place & 4095), 3, '0')
          || right(gen_random_uuid()::text, 12))::uuid
$$;
COMMENT ON FUNCTION price_change_id IS 'A UUIDv7 of that millisecond; among those, `place` (below 2^26) orders.';

CREATE FUNCTION last_price_change_id(at timestamptz) RETURNS uuid
LANGUAGE sql STABLE AS $$
  SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('f', 20))::uuid
$$;
COMMENT ON FUNCTION last_price_change_id IS 'What no id of a change in that millisecond or before is above.';

-- A feed that is read up to a time must never get a change before that time afterwards, although who began earlier
-- may commit later. So whoever writes to the feed shows from when on, by an advisory lock that all may share: its
-- first number is the merchant, its second the time. It ends with the transaction, after its rows can be seen.
-- Times are whole milliseconds, which every client can keep, and rise even where the server's clock was set back:
-- no change is dated before one that could be seen when it was written.
CREATE FUNCTION feed_lock_key() RETURNS integer
LANGUAGE sql STABLE AS $$ SELECT hashtext('price_change/' || current_merchant()) $$;

-- A connection keeps its plan: one made while the feed was short would read all of it for each change long after.
CREATE FUNCTION last_price_change() RETURNS bigint
LANGUAGE sql VOLATILE SET enable_seqscan = off AS $$
  SELECT coalesce((
    SELECT round(extract(epoch FROM changed_at) * 1000)::bigint FROM price_change
    WHERE merchant_id = current_merchant() ORDER BY change_id DESC LIMIT 1
  ), 0)
$$;
COMMENT ON FUNCTION last_price_change IS 'When the last change that can be seen happened, in milliseconds; 0 without one.';

CREATE FUNCTION begin_price_changes() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  begun bigint;
  here bigint;
BEGIN
  begun := greatest(ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint, last_price_change());
  -- The second number has 32 bits: the time goes round in it once in 49 days.
  PERFORM pg_advisory_xact_lock_shared(feed_lock_key(), (((begun + 2147483648) & 4294967295) - 2147483648)::integer);
  -- Read again, under the lock: what others could be shown by now lies before.
  here := greatest(ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint, last_price_change() + 1, begun + 1);
  RETURN to_timestamp(here / 1000) + (here % 1000) * interval '1 ms';
END $$;
COMMENT ON FUNCTION begin_price_changes IS 'The time of what this transaction writes to the feed next.';

CREATE FUNCTION price_changes_settled(OUT settled timestamptz, OUT quiet_until timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  here bigint := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
  last bigint := last_price_change();
  horizon bigint;
  oldest bigint;
BEGIN
  -- First what can be seen, then who still writes: whoever is not among them dates what he writes after `last`.
  horizon := greatest(here, last) + 2147483648;
  SELECT min(horizon - ((horizon - l.objid::bigint) & 4294967295)) INTO oldest
  FROM pg_locks l
  WHERE l.locktype = 'advisory' AND l.objsubid = 2
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
    AND l.classid::bigint = feed_lock_key()::bigint & 4294967295;
  last := least(last, oldest);
  here := least(here, oldest);
  settled := to_timestamp(last / 1000) + (last % 1000) * interval '1 ms';
  quiet_until := to_timestamp(here / 1000) + (here % 1000) * interval '1 ms';
END $$;
COMMENT ON FUNCTION price_changes_settled IS
  'Up to `settled`, read by a later statement, the feed is whole and ends with a change; up to `quiet_until` nothing will be added.';

-- A page of the feed as one call. Volatile, so that each statement sees what was there when it began: first how far
-- the feed is settled, then the lines up to there.
CREATE FUNCTION price_change_page(
  for_merchant uuid, at_store uuid, with_cost boolean, version text, since_id uuid, begun_id uuid, until_id uuid,
  how_many integer, skipped integer, most_counted integer,
  OUT data bytea, OUT last_id uuid, OUT has_more boolean, OUT total bigint, OUT settled timestamptz,
  OUT quiet_until timestamptz, OUT is_current boolean
)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  end_id uuid;
BEGIN
  PERFORM set_config('app.merchant_id', for_merchant::text, true);
  SELECT s.settled, s.quiet_until INTO settled, quiet_until FROM price_changes_settled() s;
  end_id := least(until_id, last_price_change_id(settled));
  SELECT convert_to(string_agg(
           '{"changeId":"' || r.change_id || '","changedAt":"'
           -- As the rest of the API writes times: without a fraction that is none.
           || replace(to_char(r.changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '')
           || '",' || r.line,
           ',' ORDER BY r.change_id) FILTER (WHERE r.n <= how_many), 'UTF8'),
         (array_agg(r.change_id ORDER BY r.change_id DESC) FILTER (WHERE r.n <= how_many))[1],
         count(*) > how_many,
         coalesce(bool_and(r.line_version = version), true)
  INTO data, last_id, has_more, is_current
  FROM (
    SELECT b.change_id, b.changed_at, b.line, b.line_version, row_number() OVER (ORDER BY b.change_id) AS n
    FROM (
      SELECT u.change_id, u.changed_at, u.line_version,
             CASE WHEN with_cost THEN u.line ELSE coalesce(u.line_without_cost, u.line) END AS line
      FROM (
        (SELECT c.change_id, c.changed_at, c.line, c.line_without_cost, c.line_version FROM price_change c
         WHERE c.merchant_id = for_merchant AND c.store_id = at_store
           AND c.change_id > begun_id AND c.change_id <= end_id AND (with_cost OR NOT c.is_cost_only)
         ORDER BY c.change_id LIMIT how_many + skipped + 1)
        UNION ALL
        (SELECT c.change_id, c.changed_at, c.line, c.line_without_cost, c.line_version FROM price_change c
         WHERE c.merchant_id = for_merchant AND c.store_id IS NULL
           AND c.change_id > begun_id AND c.change_id <= end_id AND (with_cost OR NOT c.is_cost_only)
           AND at_store <> ALL (c.except_store_ids)
         ORDER BY c.change_id LIMIT how_many + skipped + 1)
      ) u
      ORDER BY u.change_id
      LIMIT how_many + 1 OFFSET skipped
    ) b
  ) r;
  SELECT count(*) INTO total FROM (
    SELECT 1 FROM (
      (SELECT 1 FROM price_change c
       WHERE c.merchant_id = for_merchant AND c.store_id = at_store
         AND c.change_id > since_id AND c.change_id <= end_id AND (with_cost OR NOT c.is_cost_only)
       LIMIT most_counted)
      UNION ALL
      (SELECT 1 FROM price_change c
       WHERE c.merchant_id = for_merchant AND c.store_id IS NULL
         AND c.change_id > since_id AND c.change_id <= end_id AND (with_cost OR NOT c.is_cost_only)
         AND at_store <> ALL (c.except_store_ids)
       LIMIT most_counted)
    ) u LIMIT most_counted
  ) counted;
END $$;
COMMENT ON FUNCTION price_change_page IS
  'One page of the feed, its lines as UTF-8. Where is_current is false some line is of another version, and the page is read the long way.';

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
           CASE WHEN o.body IS NULL THEN
             CASE WHEN with_cost THEN c.body ELSE coalesce(c.body_without_cost, c.body) END
           ELSE
             CASE WHEN with_cost THEN o.body ELSE coalesce(o.body_without_cost, o.body) END
           END AS body,
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
      SELECT c.body, c.body_without_cost, c.stale_at, c.has_store_cards FROM product_card c
      WHERE c.merchant_id = for_merchant AND c.dialect = in_dialect AND c.product_id = p.product_id
      LIMIT 1
    ) c
    -- Not looked for where the common card says that there is none.
    LEFT JOIN LATERAL (
      SELECT o.body, o.body_without_cost FROM store_card o
      WHERE c.has_store_cards AND o.merchant_id = for_merchant AND o.store_id = at_store
        AND o.dialect = in_dialect AND o.product_id = p.product_id
      LIMIT 1
    ) o ON true
    -- A simple product has one variant, so one balance at a store; for the others the page is read otherwise. In
    -- the order of the product's index, which a plan made while the table was small would not choose otherwise.
    LEFT JOIN LATERAL (
      SELECT s.on_hand, s.reserved, s.reorder_level, s.reorder_quantity, s.is_low FROM stock_balance s
      WHERE s.merchant_id = for_merchant AND s.product_id BETWEEN p.product_id AND p.product_id
        AND s.store_id = at_store
      ORDER BY s.product_id LIMIT 1
    ) b ON true
  ) r;
END $$;
COMMENT ON FUNCTION product_page IS
  'One page by name, its rows as UTF-8. `live` is a format() text that gets quantity, reserved, available, reorder level, reorder
   quantity and whether stock is low, as JSON values, and closes the object that a card leaves open. Where is_plain is false some card
   is stale or has variants, and the page must be read the long way.';
