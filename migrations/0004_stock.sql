-- Stock: an append-only, hash-chained ledger with one balance for each variant and store.

-- Goods that are counted have no decimals, goods that are measured have three; of other words nothing is known.
CREATE FUNCTION unit_decimals(unit text) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT (CASE WHEN lower(unit) IN (
    'each', 'unit', 'units', 'piece', 'pieces', 'pc', 'pcs', 'item', 'items', 'carton', 'cartons', 'pack', 'packs',
    'packet', 'packets', 'box', 'boxes', 'bag', 'bags', 'bottle', 'bottles', 'tin', 'tins', 'can', 'cans', 'crate',
    'crates', 'dozen', 'pair', 'pairs', 'set', 'sets', 'sachet', 'sachets', 'roll', 'rolls', 'sheet', 'sheets',
    'jar', 'jars', 'tube', 'tubes', 'tray', 'trays', 'bundle', 'bundles', 'card', 'cards', 'strip', 'strips',
    'tablet', 'tablets', 'capsule', 'capsules') THEN 0 ELSE 3 END)::smallint
$$;

-- How many decimals an amount of the currency has; as kasuwa/base/money.py, which a test compares.
CREATE FUNCTION money_decimals(currency text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT CASE
    WHEN currency IN (
      'ADP', 'AFN', 'ALL', 'BIF', 'BYR', 'CLP', 'DJF', 'ESP', 'GNF', 'IQD', 'IRR', 'ISK', 'ITL', 'JPY', 'KMF', 'KPW',
      'KRW', 'LAK', 'LBP', 'LUF', 'MGA', 'MGF', 'MMK', 'MRO', 'PYG', 'RSD', 'RWF', 'SLL', 'SOS', 'STD', 'SYP', 'TMM',
      'TRL', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF', 'YER', 'ZMK', 'ZWD') THEN 0
    WHEN currency IN ('BHD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
    WHEN currency IN ('CLF', 'UYW') THEN 4
    ELSE 2 END
$$;

-- A UUIDv7, as the application makes them.
CREATE FUNCTION new_id() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$
  SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
    substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1),
    'hex')::uuid
$$;

CREATE TABLE stock_balance (
  merchant_id uuid NOT NULL,
  store_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  product_id uuid NOT NULL,
  on_hand numeric(18, 3) NOT NULL DEFAULT 0,
  -- A claim on what is on hand, not a pile of its own.
  reserved numeric(18, 3) NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  -- Sent here by another store and not accepted yet.
  in_transit numeric(18, 3) NOT NULL DEFAULT 0 CHECK (in_transit >= 0),
  damaged numeric(18, 3) NOT NULL DEFAULT 0 CHECK (damaged >= 0),
  -- What sales took that the shelf did not have, by the books.
  shortfall numeric(18, 3) NOT NULL DEFAULT 0 CHECK (shortfall >= 0),
  allow_negative boolean NOT NULL DEFAULT false,
  -- No longer sold, or only by its variants: then it is empty and stays so, whoever has read its id before.
  closed boolean NOT NULL DEFAULT false,
  -- Of a product with variants, which may have a level for all of them together.
  is_part boolean NOT NULL DEFAULT false,
  -- How many decimals a quantity may have: those of the product's unit.
  decimals smallint NOT NULL DEFAULT 3 CHECK (decimals BETWEEN 0 AND 3),
  reorder_level numeric(18, 3) CHECK (reorder_level >= 0),
  reorder_quantity numeric(18, 3) CHECK (reorder_quantity >= 0),
  -- At or below the reorder level, and told so. What is not counted here is never low.
  is_low boolean NOT NULL DEFAULT false,
  -- What is on hand cost in all, and one unit of it on average, in minor units of money; the average is NULL
  -- while nobody has said a cost.
  cost_value numeric(33, 9) NOT NULL DEFAULT 0,
  average_cost numeric(24, 6),
  -- How much of what is on hand lies in batches, and how many units have serial numbers.
  batched numeric(18, 3) NOT NULL DEFAULT 0 CHECK (batched >= 0),
  serials integer NOT NULL DEFAULT 0 CHECK (serials >= 0),
  -- Where the chain of this balance's movements ends.
  seq bigint NOT NULL DEFAULT 0,
  head bytea NOT NULL DEFAULT '\x',
  updated_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id),
  FOREIGN KEY (merchant_id, variant_id) REFERENCES variant (merchant_id, variant_id) ON DELETE CASCADE,
  CONSTRAINT stock_never_below_zero CHECK (allow_negative OR on_hand - reserved >= 0),
  CONSTRAINT stock_closed_is_empty
    CHECK (NOT closed OR (on_hand = 0 AND reserved = 0 AND in_transit = 0 AND damaged = 0))
);
-- In this order: without statistics both cost the same for one balance, and the index that was made last is taken. By
-- product it would read every balance of the store.
CREATE INDEX stock_balance_product ON stock_balance (merchant_id, product_id, store_id);
ALTER TABLE stock_balance ADD PRIMARY KEY (merchant_id, store_id, variant_id);
CALL protect_tenant('stock_balance');

-- What has movements is not taken away from under them.
CREATE FUNCTION keep_balance() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a balance stays: its movements are append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER keep_balance BEFORE DELETE ON stock_balance
  FOR EACH ROW WHEN (OLD.seq > 0) EXECUTE FUNCTION keep_balance();
CREATE TRIGGER keep_balances BEFORE TRUNCATE ON stock_balance
  FOR EACH STATEMENT EXECUTE FUNCTION keep_balance();

CREATE FUNCTION follow_unit() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE stock_balance SET decimals = unit_decimals(NEW.unit)
  WHERE merchant_id = NEW.merchant_id AND product_id = NEW.product_id;
  -- A fraction that the unit does not have could be neither sold nor counted any more.
  IF EXISTS (
    SELECT FROM stock_balance b
    WHERE b.merchant_id = NEW.merchant_id AND b.product_id = NEW.product_id
      AND ((b.on_hand, b.reserved, b.in_transit, b.damaged, b.shortfall)
             <> (round(b.on_hand, b.decimals), round(b.reserved, b.decimals), round(b.in_transit, b.decimals),
                 round(b.damaged, b.decimals), round(b.shortfall, b.decimals))
           OR EXISTS (
             SELECT FROM stock_batch s
             WHERE s.merchant_id = b.merchant_id AND s.store_id = b.store_id AND s.variant_id = b.variant_id
               AND s.quantity <> round(s.quantity, b.decimals)))
  ) THEN
    RAISE integrity_constraint_violation USING CONSTRAINT = 'stock_fits_unit',
      MESSAGE = 'stock has decimals that the unit does not have';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER follow_unit AFTER UPDATE OF unit ON product
  FOR EACH ROW WHEN (unit_decimals(OLD.unit) <> unit_decimals(NEW.unit)) EXECUTE FUNCTION follow_unit();

CREATE FUNCTION follow_kind() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE stock_balance SET is_part = NEW.kind = 'variant'
  WHERE merchant_id = NEW.merchant_id AND product_id = NEW.product_id;
  RETURN NULL;
END $$;
CREATE TRIGGER follow_kind AFTER UPDATE OF kind ON product
  FOR EACH ROW WHEN (OLD.kind <> NEW.kind) EXECUTE FUNCTION follow_kind();

-- A movement is of one state of its balance; the chain runs over all of them.
CREATE TABLE stock_movement (
  merchant_id uuid NOT NULL,
  store_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  seq bigint NOT NULL,
  movement_id uuid NOT NULL,
  product_id uuid NOT NULL,
  at timestamptz NOT NULL,
  kind text NOT NULL,
  state text NOT NULL CHECK (state IN ('on_hand', 'reserved', 'in_transit', 'damaged', 'shortfall')),
  quantity numeric(18, 3) NOT NULL,
  before numeric(18, 3) NOT NULL,
  after numeric(18, 3) NOT NULL,
  -- What one unit cost; by how much the movement changed the balance's cost_value; the average it left.
  unit_cost numeric(24, 6),
  value_change numeric(33, 9) NOT NULL,
  average_cost numeric(24, 6),
  batch_no text,
  expires_on date,
  serials text[] NOT NULL,
  actor text NOT NULL,
  user_id uuid,
  device text NOT NULL,
  reason text NOT NULL,
  reference text NOT NULL,
  note text NOT NULL,
  -- Who brought the goods, or got them.
  party text NOT NULL,
  request_id text NOT NULL,
  previous_hash bytea NOT NULL,
  hash bytea NOT NULL,
  -- No foreign key: move_stock() holds the balance that it writes for, and a balance with movements stays.
  PRIMARY KEY (merchant_id, store_id, variant_id, seq),
  CHECK (after = before + quantity)
);
-- A product's trail, newest first.
CREATE INDEX stock_movement_of_product ON stock_movement (merchant_id, product_id, at, movement_id);
CALL protect_tenant('stock_movement');
CALL make_append_only('stock_movement');

CREATE TABLE stock_batch (
  merchant_id uuid NOT NULL,
  store_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  batch_no text NOT NULL,
  expires_on date,
  quantity numeric(18, 3) NOT NULL CHECK (quantity >= 0),
  received_at timestamptz NOT NULL,
  PRIMARY KEY (merchant_id, store_id, variant_id, batch_no),
  FOREIGN KEY (merchant_id, store_id, variant_id) REFERENCES stock_balance (merchant_id, store_id, variant_id)
);
-- First expired, first out.
CREATE INDEX stock_batch_next ON stock_batch (merchant_id, store_id, variant_id, expires_on, received_at, batch_no)
  WHERE quantity > 0;
CALL protect_tenant('stock_batch');

-- A serial number is one unit's of a variant, wherever it lies; one that has gone may come back. While it lies
-- somewhere it says in which batch, if in one.
CREATE TABLE stock_serial (
  merchant_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  serial text NOT NULL,
  store_id uuid,
  batch_no text,
  PRIMARY KEY (merchant_id, variant_id, serial),
  FOREIGN KEY (merchant_id, variant_id) REFERENCES variant (merchant_id, variant_id),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id)
);
CREATE INDEX stock_serial_here ON stock_serial (merchant_id, store_id, variant_id, batch_no) WHERE store_id IS NOT NULL;
CALL protect_tenant('stock_serial');

-- A carton of 24: how many units of the variant one pack holds.
CREATE TABLE variant_pack (
  merchant_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  pack text NOT NULL CHECK (pack = lower(pack)),
  units numeric(18, 3) NOT NULL CHECK (units > 0),
  PRIMARY KEY (merchant_id, variant_id, pack),
  FOREIGN KEY (merchant_id, variant_id) REFERENCES variant (merchant_id, variant_id) ON DELETE CASCADE
);
CALL protect_tenant('variant_pack');

-- Low stock is told once: on the way down through the reorder level, and again after it was above.
CREATE TABLE stock_low_event (
  merchant_id uuid NOT NULL,
  event_id uuid NOT NULL,
  store_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  product_id uuid NOT NULL,
  at timestamptz NOT NULL,
  available numeric(18, 3) NOT NULL,
  reorder_level numeric(18, 3) NOT NULL,
  PRIMARY KEY (merchant_id, event_id),
  FOREIGN KEY (merchant_id, store_id, variant_id)
    REFERENCES stock_balance (merchant_id, store_id, variant_id) ON DELETE CASCADE
);
CREATE INDEX stock_low_event_of_balance ON stock_low_event (merchant_id, store_id, variant_id, event_id);
-- A store's own, the newest first, however much runs low in the others.
CREATE INDEX stock_low_event_of_store ON stock_low_event (merchant_id, store_id, event_id);
CALL protect_tenant('stock_low_event');

CREATE FUNCTION tell_low_stock() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  NEW.is_low := NOT NEW.is_low;
  IF NEW.is_low THEN
    INSERT INTO stock_low_event (merchant_id, event_id, store_id, variant_id, product_id, at, available, reorder_level)
    VALUES (NEW.merchant_id, new_id(), NEW.store_id, NEW.variant_id, NEW.product_id, clock_timestamp(),
            NEW.on_hand - NEW.reserved, NEW.reorder_level);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER tell_low_stock BEFORE UPDATE ON stock_balance
  FOR EACH ROW
  WHEN (NEW.is_low <> coalesce(NOT NEW.closed AND NEW.on_hand - NEW.reserved <= NEW.reorder_level, false))
  EXECUTE FUNCTION tell_low_stock();

-- A product with variants of which all together are at or below the level of the product itself, and told so. The
-- level stands at the balance of the variant that is not sold.
CREATE TABLE stock_low_product (
  merchant_id uuid NOT NULL,
  store_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  PRIMARY KEY (merchant_id, store_id, variant_id),
  FOREIGN KEY (merchant_id, store_id, variant_id)
    REFERENCES stock_balance (merchant_id, store_id, variant_id) ON DELETE CASCADE
);
CALL protect_tenant('stock_low_product');

-- What lies of all variants of a product beside the level of the product itself; without one, no row.
CREATE FUNCTION product_level(of_merchant uuid, at_store uuid, of_product uuid)
RETURNS TABLE (variant_id uuid, available numeric, reorder_level numeric)
LANGUAGE sql STABLE AS $$
  SELECT p.variant_id, (
    SELECT sum(b.on_hand - b.reserved) FROM stock_balance b
    WHERE b.merchant_id = of_merchant AND b.product_id = of_product AND b.store_id = at_store
  ), p.reorder_level
  FROM stock_balance p
  WHERE p.merchant_id = of_merchant AND p.product_id = of_product AND p.store_id = at_store
    AND p.closed AND p.reorder_level IS NOT NULL
$$;

-- At the commit, when the transaction waits for no balance any more: one lock for a merchant's products, so that of two
-- who sell two variants at once the second sees what the first left, and nobody waits in a circle.
CREATE FUNCTION tell_low_product() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  p record;
BEGIN
  IF NOT NEW.closed
     AND NOT EXISTS (SELECT FROM product_level(NEW.merchant_id, NEW.store_id, NEW.product_id)) THEN
    RETURN NULL;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended(NEW.merchant_id::text || '/low', 0));
  SELECT * INTO p FROM product_level(NEW.merchant_id, NEW.store_id, NEW.product_id);
  IF p.available <= p.reorder_level THEN
    INSERT INTO stock_low_product (merchant_id, store_id, variant_id)
    VALUES (NEW.merchant_id, NEW.store_id, p.variant_id) ON CONFLICT DO NOTHING;
    IF FOUND THEN
      INSERT INTO stock_low_event (merchant_id, event_id, store_id, variant_id, product_id, at, available, reorder_level)
      VALUES (NEW.merchant_id, new_id(), NEW.store_id, p.variant_id, NEW.product_id, clock_timestamp(), p.available,
              p.reorder_level);
    END IF;
  ELSE
    DELETE FROM stock_low_product l
    WHERE l.merchant_id = NEW.merchant_id AND l.store_id = NEW.store_id
      AND l.variant_id = coalesce(p.variant_id, NEW.variant_id);
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER tell_low_product AFTER UPDATE ON stock_balance
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (NEW.is_part AND (NEW.on_hand - NEW.reserved <> OLD.on_hand - OLD.reserved OR NEW.closed <> OLD.closed
        OR NEW.reorder_level IS DISTINCT FROM OLD.reorder_level OR NOT OLD.is_part))
  EXECUTE FUNCTION tell_low_product();
CREATE CONSTRAINT TRIGGER tell_new_low_product AFTER INSERT ON stock_balance
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (NEW.is_part AND (NEW.on_hand <> 0 OR NEW.closed AND NEW.reorder_level IS NOT NULL))
  EXECUTE FUNCTION tell_low_product();

CREATE FUNCTION movement_hash(m stock_movement) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
  SELECT sha256(m.previous_hash || convert_to(jsonb_build_array(
    m.merchant_id, m.store_id, m.variant_id, m.seq, m.movement_id, m.product_id, extract(epoch FROM m.at), m.kind,
    m.state, m.quantity, m.before, m.after, m.unit_cost, m.value_change, m.average_cost, m.batch_no,
    to_char(m.expires_on, 'YYYY-MM-DD'), m.serials, m.actor, m.user_id, m.device, m.reason, m.reference, m.note, m.party,
    m.request_id)::text, 'UTF8'))
$$;

-- What became of one line. Without a fault: what was booked. `told` is what the fault is about: a figure, a serial number.
CREATE TYPE stock_moved AS (
  line integer, fault text, told text, movement_ids uuid[], at timestamptz, quantity numeric, before numeric,
  after numeric, unit_cost numeric, batch_no text, expires_on date
);

-- Moves stock, line by line. Balances are locked in the order of their ids; each is read and written once, and the
-- lines of one balance follow each other as they were given. A line that cannot be says why and changes nothing.
CREATE FUNCTION move_stock(lines jsonb) RETURNS SETOF stock_moved
LANGUAGE plpgsql AS $$
DECLARE
  here timestamptz;
  w record;              -- the line
  b stock_balance;       -- its balance as it is by now; written when its last line is done
  m stock_movement;
  r stock_moved;
  batch record;
  is_moved boolean;
  held numeric;          -- what the state has
  asked numeric;
  delta numeric;
  going numeric;         -- what leaves the state
  lacking numeric;       -- what a sale took beyond the shelf
  units numeric;         -- of one pack
  cost numeric;
  worth numeric;         -- what the shelf would have cost in all
  value numeric;
  enters boolean;
  batch_name text;
  expiry date;
  today date;
  named numeric;         -- how many of a batch, or of what is in none, have serial numbers
  part integer;
  states text[];
  deltas numeric[];
  batches text[];
  expiries date[];
BEGIN
  FOR w IN
    SELECT l.*, lag(l.line) OVER k IS NULL AS is_first, lead(l.line) OVER k IS NULL AS is_last
    FROM jsonb_to_recordset(lines) AS l (
      line integer, store_id uuid, variant_id uuid, kind text, state text, change numeric, target numeric,
      expected numeric, becomes text, beyond text, pack text, unit_cost numeric, batch_no text, expires_on date,
      spare_expired boolean, serials text[], actor text, user_id uuid, device text, reason text, reference text,
      note text, party text, request_id text)
    WINDOW k AS (PARTITION BY l.store_id, l.variant_id ORDER BY l.line)
    ORDER BY l.store_id, l.variant_id, l.line
  LOOP
    here := clock_timestamp();
    r := NULL;
    r.line := w.line;
    IF w.is_first THEN
      is_moved := false;
      SELECT * INTO b FROM stock_balance s
      WHERE s.merchant_id = current_merchant() AND s.store_id = w.store_id AND s.variant_id = w.variant_id
      FOR NO KEY UPDATE;
    END IF;
    <<one>>
    BEGIN
      -- What comes in begins to be counted here.
      IF b.seq IS NULL AND (coalesce(w.change, w.target) > 0 OR w.beyond = 'shortfall') THEN
        INSERT INTO stock_balance (merchant_id, store_id, variant_id, product_id, decimals, is_part)
        SELECT v.merchant_id, s.store_id, v.variant_id, v.product_id, unit_decimals(p.unit), p.kind = 'variant'
        FROM variant v
        JOIN product p ON p.merchant_id = v.merchant_id AND p.product_id = v.product_id
        JOIN store s ON s.merchant_id = v.merchant_id AND s.store_id = w.store_id
        WHERE v.merchant_id = current_merchant() AND v.variant_id = w.variant_id AND NOT v.archived
          AND v.position > 0
        ON CONFLICT (merchant_id, store_id, variant_id) DO NOTHING;
        SELECT * INTO b FROM stock_balance s
        WHERE s.merchant_id = current_merchant() AND s.store_id = w.store_id AND s.variant_id = w.variant_id
        FOR NO KEY UPDATE;
      END IF;
      IF b.seq IS NULL THEN
        SELECT CASE WHEN count(*) = 0 THEN 'not_stocked' ELSE 'not_enough' END, '0' INTO r.fault, r.told
        FROM variant v JOIN store s ON s.merchant_id = v.merchant_id AND s.store_id = w.store_id
        WHERE v.merchant_id = current_merchant() AND v.variant_id = w.variant_id AND NOT v.archived
          AND v.position > 0;
        EXIT one;
      END IF;
      -- What is no longer sold: see close_stock.
      IF b.closed THEN
        r.fault := 'not_stocked'; r.told := '0';
        EXIT one;
      END IF;

      -- What is asked for, in units, and whether the state has it.
      held := CASE w.state WHEN 'on_hand' THEN b.on_hand WHEN 'reserved' THEN b.reserved
                           WHEN 'in_transit' THEN b.in_transit WHEN 'damaged' THEN b.damaged ELSE b.shortfall END;
      units := 1;
      IF w.pack IS NOT NULL THEN
        SELECT p.units INTO units FROM variant_pack p
        WHERE p.merchant_id = b.merchant_id AND p.variant_id = b.variant_id AND p.pack = lower(w.pack);
      END IF;
      asked := coalesce(w.change, w.target) * units;
      delta := CASE WHEN w.target IS NULL THEN asked ELSE asked - held END;
      going := greatest(-delta, 0);
      lacking := 0;
      enters := (w.state = 'on_hand' AND delta > 0) OR (w.becomes = 'on_hand' AND delta < 0);
      IF units IS NULL THEN
        r.fault := 'unknown_pack';
      ELSIF w.expected <> held THEN
        r.fault := 'changed'; r.told := trim_scale(held);
      ELSIF asked <> round(asked, b.decimals) THEN
        r.fault := 'decimals'; r.told := b.decimals;
      ELSIF abs(held + delta) >= 1e12 OR abs(delta) >= 1e12 THEN
        r.fault := 'too_much';
      ELSIF w.state = 'on_hand' AND going > greatest(b.on_hand - b.reserved, 0) AND NOT b.allow_negative THEN
        IF w.beyond = 'shortfall' THEN
          lacking := going - greatest(b.on_hand - b.reserved, 0);
          going := going - lacking;
        ELSE
          r.fault := 'not_enough'; r.told := trim_scale(greatest(b.on_hand - b.reserved, 0));
        END IF;
      ELSIF w.state = 'reserved' AND delta > greatest(b.on_hand - b.reserved, 0) AND NOT b.allow_negative THEN
        r.fault := 'not_enough'; r.told := trim_scale(greatest(b.on_hand - b.reserved, 0));
      ELSIF w.state <> 'on_hand' AND going > held THEN
        r.fault := 'not_enough'; r.told := trim_scale(held);
      END IF;
      EXIT one WHEN r.fault IS NOT NULL;

      -- A total has an end as well, which is in whole money. What only changes its place was let in before.
      IF w.state = 'on_hand' AND delta > 0 AND w.kind NOT LIKE 'transfer%' THEN
        worth := greatest(b.cost_value, 0) + round(delta * coalesce(w.unit_cost / units, b.average_cost), 3);
        IF worth > 1e12 THEN
          SELECT 'too_dear' INTO r.fault FROM store s
          WHERE s.merchant_id = b.merchant_id AND s.store_id = b.store_id
            AND worth > 1e12 * 10::numeric ^ money_decimals(s.currency);
        END IF;
      END IF;
      EXIT one WHEN r.fault IS NOT NULL;

      -- Units that have a name of their own.
      IF w.serials IS NULL THEN
        IF w.state = 'on_hand' AND going > 0 AND b.serials > greatest(b.on_hand - going, 0) THEN
          r.fault := 'serials_needed'; r.told := b.serials;
        END IF;
      ELSIF (SELECT count(DISTINCT n) FROM unnest(w.serials) n) <> abs(delta) OR lacking > 0 THEN
        r.fault := 'serials_counted'; r.told := trim_scale(abs(delta));
      ELSIF enters THEN
        SELECT 'serial_here', min(s.serial) INTO r.fault, r.told FROM stock_serial s
        WHERE s.merchant_id = b.merchant_id AND s.variant_id = b.variant_id AND s.serial = ANY (w.serials)
          AND s.store_id IS NOT NULL
        HAVING count(*) > 0;
      ELSIF w.state = 'on_hand' THEN
        SELECT 'serial_not_here', min(n.serial) INTO r.fault, r.told
        FROM unnest(w.serials) n (serial)
        LEFT JOIN stock_serial s ON s.merchant_id = b.merchant_id AND s.variant_id = b.variant_id
          AND s.serial = n.serial AND s.store_id = b.store_id
        WHERE s.serial IS NULL
        HAVING count(*) > 0;
      END IF;
      EXIT one WHEN r.fault IS NOT NULL;

      -- The parts, each a movement: from the batches that expire first, then what is in none.
      states := '{}'; deltas := '{}'; batches := '{}'; expiries := '{}';
      batch_name := coalesce(nullif(w.batch_no, ''), to_char(w.expires_on, 'YYYY-MM-DD'));
      expiry := w.expires_on;
      named := 0;
      IF w.spare_expired AND w.state = 'on_hand' AND going > 0 THEN
        SELECT (here AT TIME ZONE s.time_zone)::date INTO today FROM store s
        WHERE s.merchant_id = b.merchant_id AND s.store_id = b.store_id;
      END IF;
      IF w.state = 'on_hand' AND going > 0 AND w.serials IS NOT NULL THEN
        -- What has a name leaves the batch that it lies in.
        FOR batch IN
          SELECT n.batch_no, s.expires_on, count(*) AS quantity, min(n.serial) AS serial
          FROM stock_serial n
          LEFT JOIN stock_batch s ON s.merchant_id = n.merchant_id AND s.store_id = n.store_id
            AND s.variant_id = n.variant_id AND s.batch_no = n.batch_no
          WHERE n.merchant_id = b.merchant_id AND n.variant_id = b.variant_id AND n.serial = ANY (w.serials)
          GROUP BY n.batch_no, s.expires_on, s.received_at
          ORDER BY s.expires_on, s.received_at, n.batch_no
        LOOP
          CONTINUE WHEN w.spare_expired AND batch.expires_on < today;
          IF batch_name <> coalesce(batch.batch_no, '') THEN
            r.fault := 'serial_other_batch'; r.told := batch.serial;
          END IF;
          states := states || w.state; deltas := deltas || -batch.quantity::numeric;
          batches := batches || batch.batch_no; expiries := expiries || batch.expires_on;
          going := going - batch.quantity;
        END LOOP;
        IF going > 0 THEN
          r.fault := 'expired'; r.told := trim_scale(-delta - going);
        END IF;
      ELSIF w.state = 'on_hand' AND going > 0 AND (b.batched > 0 OR batch_name IS NOT NULL) THEN
        FOR batch IN
          SELECT s.batch_no, s.expires_on, s.quantity - CASE WHEN b.serials = 0 THEN 0 ELSE (
            SELECT count(*) FROM stock_serial n
            WHERE n.merchant_id = b.merchant_id AND n.store_id = b.store_id AND n.variant_id = b.variant_id
              AND n.batch_no = s.batch_no) END AS quantity
          FROM stock_batch s
          WHERE s.merchant_id = b.merchant_id AND s.store_id = b.store_id AND s.variant_id = b.variant_id
            AND s.quantity > 0 AND (batch_name IS NULL OR s.batch_no = batch_name)
            AND (w.spare_expired IS NOT TRUE OR s.expires_on IS NULL OR s.expires_on >= today)
          ORDER BY s.expires_on, s.received_at, s.batch_no
        LOOP
          EXIT WHEN going = 0;
          CONTINUE WHEN batch.quantity <= 0;
          states := states || w.state; deltas := deltas || -least(batch.quantity, going);
          batches := batches || batch.batch_no; expiries := expiries || batch.expires_on;
          going := going - least(batch.quantity, going);
        END LOOP;
        IF going > 0 AND b.serials > 0 AND (batch_name IS NOT NULL OR w.spare_expired) THEN
          SELECT count(*) INTO named FROM stock_serial n
          WHERE n.merchant_id = b.merchant_id AND n.store_id = b.store_id AND n.variant_id = b.variant_id
            AND n.batch_no IS NOT DISTINCT FROM batch_name;
        END IF;
        IF going > 0 AND batch_name IS NOT NULL AND named >= going THEN
          r.fault := 'serials_needed'; r.told := named;
        ELSIF going > 0 AND batch_name IS NOT NULL THEN
          r.fault := 'not_enough_in_batch'; r.told := trim_scale(-delta - lacking - going + named);
        ELSIF going > b.on_hand - b.batched - named AND w.spare_expired AND NOT b.allow_negative THEN
          r.fault := 'expired'; r.told := trim_scale(-delta - lacking - going + b.on_hand - b.batched - named);
        END IF;
      ELSIF enters AND batch_name IS NOT NULL THEN
        SELECT s.expires_on, s.quantity INTO batch FROM stock_batch s
        WHERE s.merchant_id = b.merchant_id AND s.store_id = b.store_id AND s.variant_id = b.variant_id
          AND s.batch_no = batch_name;
        IF FOUND AND batch.quantity > 0 THEN
          IF w.expires_on IS NULL THEN
            expiry := batch.expires_on;
          ELSIF w.expires_on IS DISTINCT FROM batch.expires_on THEN
            r.fault := 'batch_expiry'; r.told := coalesce(to_char(batch.expires_on, 'YYYY-MM-DD'), 'none');
          END IF;
        END IF;
      END IF;
      EXIT one WHEN r.fault IS NOT NULL;
      IF delta >= 0 OR w.state <> 'on_hand' THEN
        states := states || w.state; deltas := deltas || delta;
        batches := batches || batch_name; expiries := expiries || expiry;
      ELSIF going > 0 THEN
        states := states || w.state; deltas := deltas || -going;
        batches := batches || NULL::text; expiries := expiries || NULL::date;
      END IF;
      IF lacking > 0 THEN
        states := states || 'shortfall'::text; deltas := deltas || lacking;
        batches := batches || NULL::text; expiries := expiries || NULL::date;
      END IF;
      IF w.becomes IS NOT NULL AND delta < 0 THEN
        states := states || w.becomes; deltas := deltas || (-delta - lacking);
        batches := batches || batch_name; expiries := expiries || expiry;
      END IF;

      m.merchant_id := b.merchant_id; m.store_id := b.store_id; m.variant_id := b.variant_id;
      m.product_id := b.product_id; m.kind := w.kind; m.actor := w.actor; m.user_id := w.user_id;
      m.device := w.device; m.reason := w.reason; m.reference := w.reference; m.note := w.note; m.party := w.party;
      m.request_id := w.request_id;
      r.quantity := delta; r.before := held; r.after := held; r.movement_ids := '{}';
      r.batch_no := batches[1]; r.expires_on := expiries[1];
      cost := coalesce(round(w.unit_cost / units, 6), b.average_cost);
      FOR part IN 1 .. cardinality(states) LOOP
        m.movement_id := new_id();
        m.at := clock_timestamp();
        m.seq := b.seq + 1;
        m.state := states[part];
        m.quantity := deltas[part];
        m.batch_no := batches[part];
        m.expires_on := expiries[part];
        m.serials := CASE
          WHEN w.serials IS NULL THEN '{}'
          WHEN enters OR w.state <> 'on_hand' THEN
            CASE WHEN part = coalesce(array_position(states, 'on_hand'), 1) THEN w.serials ELSE '{}' END
          WHEN m.state = 'on_hand' THEN ARRAY(
            SELECT n.serial FROM stock_serial n
            WHERE n.merchant_id = b.merchant_id AND n.variant_id = b.variant_id AND n.serial = ANY (w.serials)
              AND n.batch_no IS NOT DISTINCT FROM m.batch_no
            ORDER BY n.serial)
          ELSE '{}' END;
        m.before := CASE m.state WHEN 'on_hand' THEN b.on_hand WHEN 'reserved' THEN b.reserved
                                 WHEN 'in_transit' THEN b.in_transit WHEN 'damaged' THEN b.damaged ELSE b.shortfall END;
        m.after := m.before + m.quantity;
        m.unit_cost := CASE WHEN m.quantity > 0 OR m.state <> 'on_hand' THEN cost ELSE b.average_cost END;
        m.value_change := 0;
        IF m.state = 'on_hand' THEN
          -- What comes in is worth what it cost, what goes out the average; the last unit takes the last fraction.
          IF m.quantity > 0 AND cost IS NOT NULL THEN
            value := CASE WHEN b.average_cost IS NULL OR m.before <= 0 THEN m.after * cost
                          ELSE b.cost_value + round(m.quantity * coalesce(w.unit_cost / units, cost), 9) END;
            b.average_cost := CASE WHEN m.after > 0 THEN round(value / m.after, 6) ELSE cost END;
          ELSIF m.quantity = 0 THEN
            value := b.cost_value;
          ELSIF m.quantity < 0 AND m.before > 0 AND m.after > 0 THEN
            value := b.cost_value + round(b.cost_value * m.quantity / m.before, 9);
          ELSE
            value := coalesce(m.after * b.average_cost, 0);
          END IF;
          m.value_change := value - b.cost_value;
          b.cost_value := value;
          b.on_hand := m.after;
          IF m.batch_no IS NOT NULL AND m.quantity < 0 THEN
            UPDATE stock_batch s SET quantity = s.quantity + m.quantity
            WHERE s.merchant_id = b.merchant_id AND s.store_id = b.store_id AND s.variant_id = b.variant_id
              AND s.batch_no = m.batch_no;
            b.batched := b.batched + m.quantity;
          ELSIF m.batch_no IS NOT NULL THEN
            INSERT INTO stock_batch AS s (merchant_id, store_id, variant_id, batch_no, expires_on, quantity, received_at)
            VALUES (b.merchant_id, b.store_id, b.variant_id, m.batch_no, m.expires_on, m.quantity, here)
            ON CONFLICT (merchant_id, store_id, variant_id, batch_no) DO UPDATE SET
              quantity = s.quantity + excluded.quantity, expires_on = excluded.expires_on,
              received_at = CASE WHEN s.quantity = 0 THEN excluded.received_at ELSE s.received_at END;
            b.batched := b.batched + m.quantity;
          END IF;
        ELSIF m.state = 'reserved' THEN b.reserved := m.after;
        ELSIF m.state = 'in_transit' THEN b.in_transit := m.after;
        ELSIF m.state = 'damaged' THEN b.damaged := m.after;
        ELSE b.shortfall := m.after;
        END IF;
        m.average_cost := b.average_cost;
        m.previous_hash := b.head;
        m.hash := movement_hash(m);
        INSERT INTO stock_movement SELECT m.*;
        b.seq := m.seq;
        b.head := m.hash;
        r.movement_ids := r.movement_ids || m.movement_id;
        IF part = 1 THEN r.at := m.at; r.unit_cost := m.unit_cost; END IF;
        IF m.state = w.state THEN r.after := m.after; END IF;
      END LOOP;
      IF w.serials IS NOT NULL AND enters THEN
        INSERT INTO stock_serial AS s (merchant_id, variant_id, serial, store_id, batch_no)
        SELECT b.merchant_id, b.variant_id, n, b.store_id, batch_name FROM unnest(w.serials) n ORDER BY n
        ON CONFLICT (merchant_id, variant_id, serial) DO UPDATE
          SET store_id = excluded.store_id, batch_no = excluded.batch_no
          WHERE s.store_id IS NULL;
        GET DIAGNOSTICS part = ROW_COUNT;
        IF part <> cardinality(w.serials) THEN
          -- Another store took one of them in at this moment.
          RAISE unique_violation USING CONSTRAINT = 'stock_serial_in_one_place';
        END IF;
        b.serials := b.serials + part;
      ELSIF w.serials IS NOT NULL AND w.state = 'on_hand' THEN
        UPDATE stock_serial s SET store_id = NULL, batch_no = NULL
        WHERE s.merchant_id = b.merchant_id AND s.variant_id = b.variant_id AND s.serial = ANY (w.serials);
        b.serials := b.serials - cardinality(w.serials);
      END IF;
      is_moved := true;
    END one;
    IF w.is_last AND is_moved THEN
      UPDATE stock_balance s SET
        on_hand = b.on_hand, reserved = b.reserved, in_transit = b.in_transit, damaged = b.damaged,
        shortfall = b.shortfall, cost_value = b.cost_value, average_cost = b.average_cost, batched = b.batched,
        serials = b.serials, seq = b.seq, head = b.head, updated_at = here
      WHERE s.merchant_id = b.merchant_id AND s.store_id = b.store_id AND s.variant_id = b.variant_id;
    END IF;
    RETURN NEXT r;
  END LOOP;
END $$;
COMMENT ON FUNCTION move_stock IS 'One row for each line, in any order.';

CREATE FUNCTION move_stock_together(lines jsonb) RETURNS SETOF stock_moved
LANGUAGE plpgsql AS $$
DECLARE
  results stock_moved[];
BEGIN
  BEGIN
    results := ARRAY(SELECT t FROM move_stock(lines) t);
    IF EXISTS (SELECT FROM unnest(results) t WHERE t.fault IS NOT NULL) THEN
      RAISE EXCEPTION 'a line cannot be' USING ERRCODE = 'KW001';
    END IF;
  EXCEPTION WHEN SQLSTATE 'KW001' THEN
    -- What the other lines did is undone; what was found stays in the variable.
    NULL;
  END;
  RETURN QUERY SELECT * FROM unnest(results);
END $$;
COMMENT ON FUNCTION move_stock_together IS 'All lines or none: where a row has a fault, nothing was moved.';

CREATE FUNCTION move_stock_of(for_merchant uuid, lines jsonb) RETURNS SETOF stock_moved
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('app.merchant_id', for_merchant::text, true);
  RETURN QUERY SELECT * FROM move_stock(lines);
END $$;
COMMENT ON FUNCTION move_stock_of IS 'For a statement that is a transaction of its own: tenant and movements in one message.';

-- Where the movements say that each serial number lies, and in which batch: that of the last one that brought it.
CREATE FUNCTION serials_by_movements()
RETURNS TABLE (merchant_id uuid, store_id uuid, variant_id uuid, serial text, batch_no text)
LANGUAGE sql STABLE AS $$
  SELECT m.merchant_id, m.store_id, m.variant_id, n.serial, (array_agg(m.batch_no ORDER BY m.seq DESC))[1]
  FROM stock_movement m CROSS JOIN LATERAL unnest(m.serials) n (serial)
  WHERE m.state = 'on_hand' AND m.serials <> '{}'
  GROUP BY 1, 2, 3, 4 HAVING sum(sign(m.quantity)) > 0
$$;

CREATE FUNCTION batches_by_movements()
RETURNS TABLE (merchant_id uuid, store_id uuid, variant_id uuid, batch_no text, quantity numeric, expires_on date,
               received_at timestamptz)
LANGUAGE sql STABLE AS $$
  SELECT m.merchant_id, m.store_id, m.variant_id, m.batch_no, sum(m.quantity),
         (array_agg(m.expires_on ORDER BY m.seq DESC))[1], min(m.at)
  FROM stock_movement m WHERE m.state = 'on_hand' AND m.batch_no IS NOT NULL GROUP BY 1, 2, 3, 4
$$;

-- What the movements say that each balance is.
CREATE FUNCTION balances_by_movements()
RETURNS TABLE (merchant_id uuid, store_id uuid, variant_id uuid, on_hand numeric, reserved numeric, in_transit numeric,
               damaged numeric, shortfall numeric, cost_value numeric, average_cost numeric, batched numeric,
               serials bigint, seq bigint, head bytea)
LANGUAGE sql STABLE AS $$
  SELECT s.merchant_id, s.store_id, s.variant_id, s.on_hand, s.reserved, s.in_transit, s.damaged, s.shortfall,
         s.cost_value, l.average_cost, s.batched, s.serials, s.seq, l.hash
  FROM (
    SELECT m.merchant_id, m.store_id, m.variant_id, max(m.seq) AS seq, sum(m.value_change) AS cost_value,
           coalesce(sum(m.quantity) FILTER (WHERE m.state = 'on_hand'), 0) AS on_hand,
           coalesce(sum(m.quantity) FILTER (WHERE m.state = 'reserved'), 0) AS reserved,
           coalesce(sum(m.quantity) FILTER (WHERE m.state = 'in_transit'), 0) AS in_transit,
           coalesce(sum(m.quantity) FILTER (WHERE m.state = 'damaged'), 0) AS damaged,
           coalesce(sum(m.quantity) FILTER (WHERE m.state = 'shortfall'), 0) AS shortfall,
           coalesce(sum(m.quantity) FILTER (WHERE m.state = 'on_hand' AND m.batch_no IS NOT NULL), 0) AS batched,
           coalesce(sum(sign(m.quantity) * cardinality(m.serials)) FILTER (WHERE m.state = 'on_hand'), 0)::bigint
             AS serials
    FROM stock_movement m GROUP BY 1, 2, 3
  ) s
  JOIN stock_movement l USING (merchant_id, store_id, variant_id, seq)
$$;

-- Every fault of the current rows: a chain that does not close, a balance that is not its movements.
-- By hashes alone, here and below: the planner takes what was grouped for one row, and would look at all for each in a
-- nested loop; or merge by store and variant, and compare each serial number of a variant with all others of it.
CREATE FUNCTION stock_faults()
RETURNS TABLE (merchant_id uuid, store_id uuid, variant_id uuid, fault text)
LANGUAGE sql STABLE SET enable_nestloop = off SET enable_mergejoin = off AS $$
  WITH chain AS (
    SELECT m AS row, m.merchant_id, m.store_id, m.variant_id, m.seq, m.before, m.hash, m.previous_hash,
           lag(m.hash, 1, '\x'::bytea) OVER w AS expected_previous,
           lag(m.after, 1, 0::numeric) OVER (PARTITION BY m.merchant_id, m.store_id, m.variant_id, m.state
                                             ORDER BY m.seq) AS expected_before,
           row_number() OVER w AS expected_seq
    FROM stock_movement m
    WINDOW w AS (PARTITION BY m.merchant_id, m.store_id, m.variant_id ORDER BY m.seq)
  )
  SELECT c.merchant_id, c.store_id, c.variant_id, 'movement ' || c.seq || ' does not follow from the one before'
  FROM chain c
  WHERE c.previous_hash <> c.expected_previous OR c.before <> c.expected_before OR c.seq <> c.expected_seq
  UNION ALL
  SELECT c.merchant_id, c.store_id, c.variant_id, 'movement ' || c.seq || ' was changed after it was written'
  FROM chain c
  WHERE c.hash <> movement_hash(c.row)
  UNION ALL
  SELECT merchant_id, store_id, variant_id, 'the balance is not the sum of its movements'
  FROM stock_balance b
  FULL JOIN balances_by_movements() t USING (merchant_id, store_id, variant_id)
  WHERE b.seq IS NULL OR b.on_hand <> coalesce(t.on_hand, 0) OR b.reserved <> coalesce(t.reserved, 0)
     OR b.in_transit <> coalesce(t.in_transit, 0) OR b.damaged <> coalesce(t.damaged, 0)
     OR b.shortfall <> coalesce(t.shortfall, 0) OR b.cost_value <> coalesce(t.cost_value, 0)
     OR b.average_cost IS DISTINCT FROM t.average_cost OR b.batched <> coalesce(t.batched, 0)
     OR b.serials <> coalesce(t.serials, 0) OR b.seq <> coalesce(t.seq, 0) OR b.head <> coalesce(t.head, '\x')
  UNION ALL
  SELECT merchant_id, store_id, variant_id, 'batch ' || batch_no || ' is not the sum of its movements'
  FROM stock_batch b FULL JOIN batches_by_movements() t USING (merchant_id, store_id, variant_id, batch_no)
  WHERE coalesce(b.quantity, 0) <> coalesce(t.quantity, 0) OR b.expires_on IS DISTINCT FROM t.expires_on
  UNION ALL
  SELECT merchant_id, store_id, variant_id, 'serial number ' || serial || ' is not where its movements left it'
  FROM (
    SELECT s.merchant_id, s.store_id, s.variant_id, s.serial, s.batch_no FROM stock_serial s WHERE s.store_id IS NOT NULL
  ) s
  FULL JOIN serials_by_movements() t USING (merchant_id, store_id, variant_id, serial)
  WHERE s.serial IS NULL OR t.serial IS NULL OR s.batch_no IS DISTINCT FROM t.batch_no
  UNION ALL
  SELECT b.merchant_id, b.store_id, b.variant_id, 'the balance says of itself wrongly whether it is low'
  FROM stock_balance b
  WHERE b.is_low <> coalesce(NOT b.closed AND b.on_hand - b.reserved <= b.reorder_level, false)
  UNION ALL
  SELECT b.merchant_id, b.store_id, b.variant_id, 'the product says of itself wrongly whether it is low'
  FROM stock_balance b
  LEFT JOIN stock_low_product l USING (merchant_id, store_id, variant_id)
  LEFT JOIN LATERAL product_level(b.merchant_id, b.store_id, b.product_id) p ON p.variant_id = b.variant_id
  WHERE b.is_part AND b.closed AND (l.variant_id IS NOT NULL) <> coalesce(p.available <= p.reorder_level, false)
$$;

-- Makes every balance what its movements say; the movements themselves are the truth.
CREATE FUNCTION rebuild_stock() RETURNS bigint
LANGUAGE plpgsql SET enable_nestloop = off SET enable_mergejoin = off AS $$
DECLARE
  changed bigint;
BEGIN
  LOCK TABLE stock_balance IN SHARE ROW EXCLUSIVE MODE;
  UPDATE stock_balance b SET
    on_hand = t.on_hand, reserved = t.reserved, in_transit = t.in_transit, damaged = t.damaged,
    shortfall = t.shortfall, cost_value = t.cost_value, average_cost = t.average_cost, batched = t.batched,
    serials = t.serials, seq = t.seq, head = t.head
  FROM (
    SELECT k.merchant_id, k.store_id, k.variant_id, coalesce(m.on_hand, 0) AS on_hand,
           coalesce(m.reserved, 0) AS reserved, coalesce(m.in_transit, 0) AS in_transit,
           coalesce(m.damaged, 0) AS damaged, coalesce(m.shortfall, 0) AS shortfall,
           coalesce(m.cost_value, 0) AS cost_value, m.average_cost, coalesce(m.batched, 0) AS batched,
           coalesce(m.serials, 0) AS serials, coalesce(m.seq, 0) AS seq, coalesce(m.head, '\x') AS head
    FROM stock_balance k LEFT JOIN balances_by_movements() m USING (merchant_id, store_id, variant_id)
  ) t
  WHERE b.merchant_id = t.merchant_id AND b.store_id = t.store_id AND b.variant_id = t.variant_id
    AND (b.on_hand, b.reserved, b.in_transit, b.damaged, b.shortfall, b.cost_value, b.average_cost, b.batched,
         b.serials, b.seq, b.head)
      IS DISTINCT FROM (t.on_hand, t.reserved, t.in_transit, t.damaged, t.shortfall, t.cost_value, t.average_cost,
                        t.batched, t.serials, t.seq, t.head);
  GET DIAGNOSTICS changed = ROW_COUNT;
  INSERT INTO stock_batch AS s (merchant_id, store_id, variant_id, batch_no, expires_on, quantity, received_at)
  SELECT t.merchant_id, t.store_id, t.variant_id, t.batch_no, t.expires_on, t.quantity, t.received_at
  FROM batches_by_movements() t
  ON CONFLICT (merchant_id, store_id, variant_id, batch_no) DO UPDATE SET
    quantity = excluded.quantity, expires_on = excluded.expires_on
    WHERE s.quantity <> excluded.quantity OR s.expires_on IS DISTINCT FROM excluded.expires_on;
  WITH there AS MATERIALIZED (SELECT * FROM serials_by_movements())
  UPDATE stock_serial s SET store_id = NULL, batch_no = NULL
  WHERE s.store_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM there t
    WHERE t.merchant_id = s.merchant_id AND t.variant_id = s.variant_id AND t.serial = s.serial
      AND t.store_id = s.store_id);
  INSERT INTO stock_serial AS s (merchant_id, variant_id, serial, store_id, batch_no)
  SELECT t.merchant_id, t.variant_id, t.serial, t.store_id, t.batch_no FROM serials_by_movements() t
  ON CONFLICT (merchant_id, variant_id, serial) DO UPDATE SET store_id = excluded.store_id, batch_no = excluded.batch_no
    WHERE (s.store_id, s.batch_no) IS DISTINCT FROM (excluded.store_id, excluded.batch_no);
  RETURN changed;
END $$;
COMMENT ON FUNCTION rebuild_stock IS 'How many balances were not what they had to be. Nothing moves meanwhile.';
