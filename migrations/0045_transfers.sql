-- Transfers: goods on their way from one location of the merchant to another.

CREATE TABLE stock_transfer (
  merchant_id uuid NOT NULL REFERENCES merchant,
  transfer_id uuid NOT NULL,
  source_id uuid NOT NULL,
  destination_id uuid NOT NULL,
  status text NOT NULL DEFAULT 'draft'
    CHECK (status IN ('draft', 'shipped', 'partially_received', 'accepted', 'cancelled')),
  reference text NOT NULL DEFAULT '',
  note text NOT NULL DEFAULT '',
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by uuid,
  shipped_at timestamptz,
  shipped_by uuid,
  closed_at timestamptz,
  closed_by uuid,
  -- Where the units of a cancelled transfer went, and why.
  fate text CHECK (fate IN ('returned', 'lost')),
  close_reason text NOT NULL DEFAULT '',
  PRIMARY KEY (merchant_id, transfer_id),
  UNIQUE (merchant_id, transfer_id, source_id, destination_id),
  FOREIGN KEY (merchant_id, source_id) REFERENCES store (merchant_id, store_id),
  FOREIGN KEY (merchant_id, destination_id) REFERENCES store (merchant_id, store_id),
  CHECK (source_id <> destination_id),
  CHECK (status = 'cancelled' OR (status = 'draft') = (shipped_at IS NULL)),
  CHECK ((status IN ('accepted', 'cancelled')) = (closed_at IS NOT NULL)),
  CHECK ((fate IS NOT NULL) = (status = 'cancelled' AND shipped_at IS NOT NULL))
);
CREATE INDEX stock_transfer_out ON stock_transfer (merchant_id, source_id, transfer_id);
CREATE INDEX stock_transfer_out_by_status ON stock_transfer (merchant_id, source_id, status, transfer_id);
-- The destination learns of a transfer when it is shipped.
CREATE INDEX stock_transfer_in ON stock_transfer (merchant_id, destination_id, transfer_id)
  WHERE shipped_at IS NOT NULL;
CREATE INDEX stock_transfer_in_by_status ON stock_transfer (merchant_id, destination_id, status, transfer_id)
  WHERE shipped_at IS NOT NULL;
CALL protect_tenant('stock_transfer');

-- One variant of a transfer. Both locations and the time stand here too, so that a list reads lines alone.
CREATE TABLE stock_transfer_line (
  merchant_id uuid NOT NULL,
  line_id uuid NOT NULL,
  transfer_id uuid NOT NULL,
  source_id uuid NOT NULL,
  destination_id uuid NOT NULL,
  position integer NOT NULL,
  product_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  quantity numeric(18, 3) NOT NULL CHECK (quantity > 0),
  -- The batch, or the units, that are to leave; else those that expire first.
  batch_no text,
  serials text[] NOT NULL DEFAULT '{}',
  received numeric(18, 3) NOT NULL DEFAULT 0 CHECK (received >= 0),
  damaged numeric(18, 3) NOT NULL DEFAULT 0 CHECK (damaged >= 0),
  lost numeric(18, 3) NOT NULL DEFAULT 0 CHECK (lost >= 0),
  returned numeric(18, 3) NOT NULL DEFAULT 0 CHECK (returned >= 0),
  status text NOT NULL DEFAULT 'draft'
    CHECK (status IN ('draft', 'shipped', 'partially_received', 'accepted', 'cancelled')),
  shipped_at timestamptz,
  shipped_by uuid,
  closed_at timestamptz,
  closed_by uuid,
  out_movement_id uuid,
  in_movement_id uuid,
  PRIMARY KEY (merchant_id, line_id),
  UNIQUE (merchant_id, transfer_id, variant_id),
  FOREIGN KEY (merchant_id, transfer_id, source_id, destination_id)
    REFERENCES stock_transfer (merchant_id, transfer_id, source_id, destination_id),
  -- Only a variant that the ledger has never seen is deleted; what was shipped is there for good.
  FOREIGN KEY (merchant_id, variant_id) REFERENCES variant (merchant_id, variant_id) ON DELETE CASCADE,
  CONSTRAINT never_more_than_shipped CHECK (received + damaged + lost + returned <= quantity),
  CHECK ((shipped_at IS NULL) = (out_movement_id IS NULL)),
  CHECK (shipped_at IS NOT NULL OR received + damaged + lost + returned = 0),
  CHECK (shipped_at IS NULL
         OR (status IN ('accepted', 'cancelled')) = (received + damaged + lost + returned = quantity))
);
CREATE INDEX stock_transfer_line_out ON stock_transfer_line (merchant_id, source_id, shipped_at, line_id)
  WHERE shipped_at IS NOT NULL;
CREATE INDEX stock_transfer_line_out_by_status
  ON stock_transfer_line (merchant_id, source_id, status, shipped_at, line_id) WHERE shipped_at IS NOT NULL;
CREATE INDEX stock_transfer_line_in ON stock_transfer_line (merchant_id, destination_id, shipped_at, line_id)
  WHERE shipped_at IS NOT NULL;
CREATE INDEX stock_transfer_line_in_by_status
  ON stock_transfer_line (merchant_id, destination_id, status, shipped_at, line_id) WHERE shipped_at IS NOT NULL;
CREATE INDEX stock_transfer_line_product_out
  ON stock_transfer_line (merchant_id, product_id, source_id, shipped_at, line_id);
CREATE INDEX stock_transfer_line_product_in
  ON stock_transfer_line (merchant_id, product_id, destination_id, shipped_at, line_id);
CREATE INDEX stock_transfer_line_variant ON stock_transfer_line (merchant_id, variant_id);
CALL protect_tenant('stock_transfer_line');

-- What left the shelf together: of one batch, at one cost. It arrives as what it left as.
CREATE TABLE stock_transfer_parcel (
  merchant_id uuid NOT NULL,
  line_id uuid NOT NULL,
  number integer NOT NULL,
  movement_id uuid NOT NULL,
  quantity numeric(18, 3) NOT NULL CHECK (quantity > 0),
  outstanding numeric(18, 3) NOT NULL CHECK (outstanding BETWEEN 0 AND quantity),
  batch_no text,
  expires_on date,
  serial text,
  unit_cost_minor numeric,
  PRIMARY KEY (merchant_id, line_id, number),
  FOREIGN KEY (merchant_id, line_id) REFERENCES stock_transfer_line (merchant_id, line_id) ON DELETE CASCADE
);
CALL protect_tenant('stock_transfer_parcel');

-- Every fault of the current rows: what the balances, the ledger and the transfers say of one another.
CREATE FUNCTION stock_transfer_faults()
RETURNS TABLE (merchant_id uuid, transfer_id uuid, fault text)
LANGUAGE sql STABLE AS $$
  WITH line AS (
    SELECT l.*, CASE WHEN l.status IN ('shipped', 'partially_received')
                     THEN l.quantity - l.received - l.damaged - l.lost - l.returned ELSE 0 END AS outstanding
    FROM stock_transfer_line l
  ), on_its_way AS (
    SELECT l.merchant_id, l.destination_id AS store_id, l.variant_id, sum(l.outstanding) AS outstanding
    FROM line l WHERE l.outstanding > 0 GROUP BY 1, 2, 3
  )
  SELECT merchant_id, NULL::uuid,
         format('%s of variant %s are in transit at store %s, and its open transfers say %s',
                coalesce(b.in_transit, 0), variant_id, store_id, coalesce(w.outstanding, 0))
  FROM on_its_way w
  FULL JOIN (SELECT * FROM stock_balance WHERE in_transit <> 0) b USING (merchant_id, store_id, variant_id)
  WHERE coalesce(b.in_transit, 0) <> coalesce(w.outstanding, 0)
  UNION ALL
  SELECT l.merchant_id, l.transfer_id,
         format('line %s has %s on its way, and the ledger moved %s', l.position, l.outstanding, coalesce(m.moved, 0))
  FROM line l
  LEFT JOIN (
    SELECT m.merchant_id, m.store_id, m.variant_id, m.reference, sum(m.quantity) AS moved
    FROM stock_movement m WHERE m.state = 'in_transit' GROUP BY 1, 2, 3, 4
  ) m ON m.merchant_id = l.merchant_id AND m.store_id = l.destination_id AND m.variant_id = l.variant_id
    AND m.reference = l.transfer_id::text
  WHERE l.outstanding <> coalesce(m.moved, 0)
  UNION ALL
  SELECT l.merchant_id, l.transfer_id,
         format('line %s has %s of %s on its way, and its parcels %s of %s', l.position, l.outstanding, l.quantity,
                coalesce(p.outstanding, 0), coalesce(p.quantity, 0))
  FROM line l
  LEFT JOIN (
    SELECT p.merchant_id, p.line_id, sum(p.quantity) AS quantity, sum(p.outstanding) AS outstanding
    FROM stock_transfer_parcel p GROUP BY 1, 2
  ) p USING (merchant_id, line_id)
  WHERE l.shipped_at IS NOT NULL AND (p.quantity, p.outstanding) IS DISTINCT FROM (l.quantity, l.outstanding)
  UNION ALL
  SELECT t.merchant_id, t.transfer_id, format('it is %s, and its lines are %s', t.status, l.status)
  FROM stock_transfer t
  CROSS JOIN LATERAL (
    SELECT CASE
      WHEN bool_and(l.status IN ('accepted', 'cancelled')) THEN 'accepted'
      WHEN bool_or(l.received + l.damaged + l.lost + l.returned > 0) THEN 'partially_received'
      ELSE 'shipped' END AS status
    FROM stock_transfer_line l WHERE l.merchant_id = t.merchant_id AND l.transfer_id = t.transfer_id
  ) l
  WHERE t.shipped_at IS NOT NULL AND l.status <> CASE t.status WHEN 'cancelled' THEN 'accepted' ELSE t.status END
$$;
