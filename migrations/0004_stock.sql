-- Stock: an append-only, hash-chained ledger with one balance for each variant and store.

CREATE TABLE stock_balance (
  merchant_id uuid NOT NULL,
  store_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  product_id uuid NOT NULL,
  on_hand numeric(18, 3) NOT NULL DEFAULT 0,
  reserved numeric(18, 3) NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  in_transit numeric(18, 3) NOT NULL DEFAULT 0 CHECK (in_transit >= 0),
  damaged numeric(18, 3) NOT NULL DEFAULT 0 CHECK (damaged >= 0),
  allow_negative boolean NOT NULL DEFAULT false,
  reorder_level numeric(18, 3) CHECK (reorder_level >= 0),
  reorder_quantity numeric(18, 3) CHECK (reorder_quantity >= 0),
  -- Where the chain of this balance's movements ends.
  seq bigint NOT NULL DEFAULT 0,
  head bytea NOT NULL DEFAULT '\x',
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, store_id, variant_id),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id),
  FOREIGN KEY (merchant_id, variant_id) REFERENCES variant (merchant_id, variant_id) ON DELETE CASCADE,
  CONSTRAINT stock_never_below_zero CHECK (allow_negative OR on_hand - reserved >= 0)
);
CREATE INDEX stock_balance_product ON stock_balance (merchant_id, product_id, store_id);
CALL protect_tenant('stock_balance');

CREATE TABLE stock_movement (
  merchant_id uuid NOT NULL,
  store_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  seq bigint NOT NULL,
  movement_id uuid NOT NULL,
  at timestamptz NOT NULL,
  kind text NOT NULL,
  quantity numeric(18, 3) NOT NULL,
  before numeric(18, 3) NOT NULL,
  after numeric(18, 3) NOT NULL,
  actor text NOT NULL,
  device text NOT NULL,
  reason text NOT NULL,
  document text NOT NULL,
  previous_hash bytea NOT NULL,
  hash bytea NOT NULL,
  PRIMARY KEY (merchant_id, store_id, variant_id, seq),
  FOREIGN KEY (merchant_id, store_id, variant_id) REFERENCES stock_balance (merchant_id, store_id, variant_id),
  CHECK (after = before + quantity)
);
CALL protect_tenant('stock_movement');
CALL make_append_only('stock_movement');

CREATE FUNCTION movement_hash(
  previous bytea, merchant_id uuid, store_id uuid, variant_id uuid, seq bigint, movement_id uuid, at timestamptz,
  kind text, quantity numeric, before numeric, after numeric, actor text, device text, reason text, document text
) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT sha256(previous || convert_to(jsonb_build_array(
    merchant_id, store_id, variant_id, seq, movement_id, extract(epoch FROM at), kind,
    quantity::numeric(18, 3), before::numeric(18, 3), after::numeric(18, 3),
    actor, device, reason, document)::text, 'UTF8'))
$$;

-- One change of one balance: the row is locked, moved and written down, or nothing happens.
-- `change` moves by a difference; `target` sets an absolute figure and books the difference.
CREATE FUNCTION move_stock(
  at_store uuid, of_variant uuid, new_movement uuid, new_kind text, change numeric, target numeric,
  by_actor text, on_device text, for_reason text, with_document text
) RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
  b stock_balance;
  here timestamptz := clock_timestamp();
  delta numeric(18, 3);
  new_hash bytea;
BEGIN
  SELECT * INTO b FROM stock_balance
  WHERE merchant_id = current_merchant() AND store_id = at_store AND variant_id = of_variant
  FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  delta := coalesce(change, target - b.on_hand);
  new_hash := movement_hash(b.head, b.merchant_id, at_store, of_variant, b.seq + 1, new_movement, here, new_kind,
                            delta, b.on_hand, b.on_hand + delta, by_actor, on_device, for_reason, with_document);
  UPDATE stock_balance SET on_hand = on_hand + delta, seq = seq + 1, head = new_hash, updated_at = here
  WHERE merchant_id = b.merchant_id AND store_id = at_store AND variant_id = of_variant;
  INSERT INTO stock_movement (merchant_id, store_id, variant_id, seq, movement_id, at, kind, quantity, before, after,
                              actor, device, reason, document, previous_hash, hash)
  VALUES (b.merchant_id, at_store, of_variant, b.seq + 1, new_movement, here, new_kind, delta, b.on_hand,
          b.on_hand + delta, by_actor, on_device, for_reason, with_document, b.head, new_hash);
  RETURN b.on_hand + delta;
END $$;
COMMENT ON FUNCTION move_stock IS 'The figure after the change; NULL when there is no such balance.';

-- Every fault of the current rows: a chain that does not close, a balance that is not its movements.
CREATE FUNCTION stock_faults()
RETURNS TABLE (merchant_id uuid, store_id uuid, variant_id uuid, fault text)
LANGUAGE sql STABLE AS $$
  WITH chain AS (
    SELECT m.*,
           lag(m.hash, 1, '\x'::bytea) OVER w AS expected_previous,
           lag(m.after, 1, 0::numeric) OVER w AS expected_before,
           row_number() OVER w AS expected_seq
    FROM stock_movement m
    WINDOW w AS (PARTITION BY m.merchant_id, m.store_id, m.variant_id ORDER BY m.seq)
  ), total AS (
    SELECT c.merchant_id, c.store_id, c.variant_id, sum(c.quantity) AS quantity, max(c.seq) AS seq,
           (array_agg(c.hash ORDER BY c.seq DESC))[1] AS head
    FROM chain c GROUP BY 1, 2, 3
  )
  SELECT c.merchant_id, c.store_id, c.variant_id, 'movement ' || c.seq || ' does not follow from the one before'
  FROM chain c
  WHERE c.previous_hash <> c.expected_previous OR c.before <> c.expected_before OR c.seq <> c.expected_seq
  UNION ALL
  SELECT c.merchant_id, c.store_id, c.variant_id, 'movement ' || c.seq || ' was changed after it was written'
  FROM chain c
  WHERE c.hash <> movement_hash(c.previous_hash, c.merchant_id, c.store_id, c.variant_id, c.seq, c.movement_id, c.at,
                                c.kind, c.quantity, c.before, c.after, c.actor, c.device, c.reason, c.document)
  UNION ALL
  SELECT b.merchant_id, b.store_id, b.variant_id, 'the balance is not the sum of its movements'
  FROM stock_balance b
  LEFT JOIN total t USING (merchant_id, store_id, variant_id)
  WHERE b.on_hand <> coalesce(t.quantity, 0) OR b.seq <> coalesce(t.seq, 0) OR b.head <> coalesce(t.head, '\x')
$$;
