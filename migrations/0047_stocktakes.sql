-- Stocktakes: who counted what, when and where, and what was booked of it.

CREATE TABLE stocktake (
  merchant_id uuid NOT NULL,
  stocktake_id uuid NOT NULL,
  store_id uuid NOT NULL,
  name text NOT NULL,
  note text NOT NULL DEFAULT '',
  status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed', 'cancelled')),
  blind boolean NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_by uuid,
  ended_at timestamptz,
  ended_by uuid,
  PRIMARY KEY (merchant_id, stocktake_id),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id),
  CHECK ((status = 'open') = (ended_at IS NULL))
);
CREATE INDEX stocktake_of_store ON stocktake (merchant_id, store_id, stocktake_id);
CALL protect_tenant('stocktake');

-- Every count as it was handed in. Of one product in one zone the latest holds; zones are added up.
CREATE TABLE stocktake_count (
  merchant_id uuid NOT NULL,
  stocktake_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  zone text NOT NULL,
  counted_at timestamptz NOT NULL,
  count_id uuid NOT NULL,
  quantity numeric(18, 3) NOT NULL CHECK (quantity >= 0),
  counted_by uuid,
  device text NOT NULL,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (merchant_id, stocktake_id, variant_id, zone, counted_at, count_id),
  FOREIGN KEY (merchant_id, stocktake_id) REFERENCES stocktake (merchant_id, stocktake_id),
  FOREIGN KEY (merchant_id, variant_id) REFERENCES variant (merchant_id, variant_id) ON DELETE CASCADE
);
CALL protect_tenant('stocktake_count');

-- What the closing made of each variant. `expected` is what the books had when it was counted.
CREATE TABLE stocktake_line (
  merchant_id uuid NOT NULL,
  stocktake_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  counted numeric(18, 3) NOT NULL,
  counted_at timestamptz NOT NULL,
  expected numeric(18, 3) NOT NULL,
  booked numeric(18, 3) NOT NULL,
  problem text,
  PRIMARY KEY (merchant_id, stocktake_id, variant_id),
  FOREIGN KEY (merchant_id, stocktake_id) REFERENCES stocktake (merchant_id, stocktake_id),
  FOREIGN KEY (merchant_id, variant_id) REFERENCES variant (merchant_id, variant_id) ON DELETE CASCADE
);
CALL protect_tenant('stocktake_line');

-- What a state of a balance was at an instant: the last movement of it until then.
CREATE FUNCTION stock_as_at(at_store uuid, of_variant uuid, wanted_state text, instant timestamptz) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
  SELECT coalesce((
    SELECT m.after FROM stock_movement m
    WHERE m.merchant_id = current_merchant() AND m.store_id = at_store AND m.variant_id = of_variant
      AND m.state = wanted_state AND m.at <= instant
    ORDER BY m.seq DESC LIMIT 1
  ), 0)
$$;

-- These change what the books say and nothing on the shelf.
CREATE FUNCTION is_correction(kind text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT kind IN ('opening', 'set', 'counted', 'imported') $$;

-- The last movement of a balance until an instant; 0 before the first.
CREATE FUNCTION stock_seq_at(at_store uuid, of_variant uuid, instant timestamptz) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
  SELECT coalesce((
    SELECT m.seq FROM stock_movement m
    WHERE m.merchant_id = current_merchant() AND m.store_id = at_store AND m.variant_id = of_variant AND m.at <= instant
    ORDER BY m.seq DESC LIMIT 1
  ), 0)
$$;

-- What a count of that instant is compared with: the books as they were then and as they have been corrected since.
CREATE FUNCTION stock_expected(at_store uuid, of_variant uuid, wanted_state text, instant timestamptz) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
  SELECT stock_as_at(at_store, of_variant, wanted_state, instant) + coalesce((
    SELECT sum(m.quantity) FROM stock_movement m
    WHERE m.merchant_id = current_merchant() AND m.store_id = at_store AND m.variant_id = of_variant
      AND m.seq > (SELECT stock_seq_at(at_store, of_variant, instant))
      AND m.state = wanted_state AND is_correction(m.kind)
  ), 0)
$$;

-- Whether something was put on the shelf or taken from it between two instants.
CREATE FUNCTION shelf_moved(at_store uuid, of_variant uuid, since timestamptz, until timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
  SELECT EXISTS (
    SELECT FROM stock_movement m
    WHERE m.merchant_id = current_merchant() AND m.store_id = at_store AND m.variant_id = of_variant
      AND m.seq > (SELECT stock_seq_at(at_store, of_variant, since)) AND m.at <= until
      AND m.state IN ('on_hand', 'shortfall') AND m.quantity <> 0 AND NOT is_correction(m.kind))
$$;
