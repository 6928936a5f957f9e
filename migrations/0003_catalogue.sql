-- Categories, products, variants, prices, and the cards that lists read.

CREATE TABLE category (
  merchant_id uuid NOT NULL REFERENCES merchant,
  category_id uuid NOT NULL,
  number bigint NOT NULL,
  parent_id uuid,
  name text NOT NULL,
  slug text NOT NULL,
  position integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, category_id),
  UNIQUE (merchant_id, number),
  FOREIGN KEY (merchant_id, parent_id) REFERENCES category (merchant_id, category_id)
);
CALL protect_tenant('category');

-- A product is what the shop shows; a variant is what it sells and counts. A simple product has one variant.
CREATE TABLE product (
  merchant_id uuid NOT NULL REFERENCES merchant,
  product_id uuid NOT NULL,
  number bigint NOT NULL,
  kind text NOT NULL DEFAULT 'simple' CHECK (kind IN ('simple', 'variant')),
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive', 'archived')),
  name text NOT NULL,
  sort_name text NOT NULL,
  slug text NOT NULL,
  description text,
  brand text,
  unit text NOT NULL DEFAULT 'each',
  tags text[] NOT NULL DEFAULT '{}',
  taxable boolean NOT NULL DEFAULT true,
  tax_rate numeric(9, 6),
  vat_type text CHECK (vat_type IN ('inclusive', 'exclusive')),
  tax_code text,
  track_quantity boolean NOT NULL DEFAULT true,
  visible_online boolean NOT NULL DEFAULT false,
  weight_grams integer,
  expiry_date date,
  -- Fields that one API documents and the shop has no use for: kept and given back.
  extra jsonb NOT NULL DEFAULT '{}',
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by uuid,
  updated_at timestamptz NOT NULL DEFAULT now(),
  updated_by uuid,
  PRIMARY KEY (merchant_id, product_id),
  UNIQUE (merchant_id, number)
);
-- What a list asks of a product beside its card is in the index, so that the product is not read at all.
CREATE INDEX product_by_name ON product (merchant_id, status, sort_name, product_id)
  INCLUDE (kind, track_quantity);
CREATE INDEX product_by_change ON product (merchant_id, status, updated_at, product_id);
CREATE INDEX product_exact_name ON product (merchant_id, name) WHERE status <> 'archived';
CALL protect_tenant('product');

CREATE FUNCTION count_products() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM add_to_total(n.merchant_id, n.name, n.n) FROM (
      SELECT merchant_id, 'products.' || status AS name, count(*) AS n FROM new_rows GROUP BY 1, 2 ORDER BY 1, 2
    ) n;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM add_to_total(o.merchant_id, o.name, -o.n) FROM (
      SELECT merchant_id, 'products.' || status AS name, count(*) AS n FROM old_rows GROUP BY 1, 2 ORDER BY 1, 2
    ) o;
  ELSE
    PERFORM add_to_total(m.merchant_id, m.name, m.n) FROM (
      SELECT o.merchant_id, 'products.' || moved.status AS name, sum(moved.n) AS n
      FROM old_rows o JOIN new_rows w USING (merchant_id, product_id)
      CROSS JOIN LATERAL (VALUES (o.status, -1), (w.status, 1)) moved (status, n)
      WHERE o.status <> w.status GROUP BY 1, 2 ORDER BY 1, 2
    ) m;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER count_new AFTER INSERT ON product REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_products();
CREATE TRIGGER count_gone AFTER DELETE ON product REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_products();
CREATE TRIGGER count_moved AFTER UPDATE ON product REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_products();

CREATE TABLE product_category (
  merchant_id uuid NOT NULL,
  product_id uuid NOT NULL,
  category_id uuid NOT NULL,
  PRIMARY KEY (merchant_id, product_id, category_id),
  FOREIGN KEY (merchant_id, product_id) REFERENCES product (merchant_id, product_id) ON DELETE CASCADE,
  FOREIGN KEY (merchant_id, category_id) REFERENCES category (merchant_id, category_id)
);
CREATE INDEX product_category_products ON product_category (merchant_id, category_id, product_id);
CALL protect_tenant('product_category');

CREATE TABLE variant (
  merchant_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  product_id uuid NOT NULL,
  number bigint NOT NULL,
  position integer NOT NULL DEFAULT 1,
  name text NOT NULL DEFAULT '',
  options jsonb NOT NULL DEFAULT '[]',
  sku text NOT NULL,
  sku_key text NOT NULL,
  barcode text,
  active boolean NOT NULL DEFAULT true,
  -- An archived product gives its SKU and barcode free.
  archived boolean NOT NULL DEFAULT false,
  extra jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, variant_id),
  FOREIGN KEY (merchant_id, product_id) REFERENCES product (merchant_id, product_id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX variant_sku ON variant (merchant_id, sku_key) WHERE NOT archived;
CREATE UNIQUE INDEX variant_barcode ON variant (merchant_id, barcode) WHERE NOT archived AND barcode IS NOT NULL;
CREATE INDEX variant_of_product ON variant (merchant_id, product_id, position, variant_id);
CALL protect_tenant('variant');

-- A price holds in every store, or in the one it names.
CREATE TABLE price (
  merchant_id uuid NOT NULL,
  variant_id uuid NOT NULL,
  store_id uuid,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  selling_minor bigint NOT NULL CHECK (selling_minor >= 0),
  cost_minor bigint CHECK (cost_minor >= 0),
  promo_minor bigint CHECK (promo_minor >= 0),
  promo_starts_at timestamptz,
  promo_ends_at timestamptz,
  wholesale_minor bigint CHECK (wholesale_minor >= 0),
  wholesale_min_quantity numeric(18, 3) CHECK (wholesale_min_quantity > 0),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE NULLS NOT DISTINCT (merchant_id, variant_id, store_id),
  FOREIGN KEY (merchant_id, variant_id) REFERENCES variant (merchant_id, variant_id) ON DELETE CASCADE,
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id)
);
CALL protect_tenant('price');

-- What a list shows of a product, written with the change, in the words of each API. Live stock is
-- joined when it is read. `body` and `body_without_cost` are JSON objects as text without their last brace, so
-- that a list adds what is live without cutting; NULL in the second says that they are the same. After `stale_at` a promotion has begun or ended.
CREATE TABLE product_card (
  merchant_id uuid NOT NULL,
  product_id uuid NOT NULL,
  dialect text NOT NULL,
  body text NOT NULL,
  body_without_cost text,
  stale_at timestamptz,
  PRIMARY KEY (merchant_id, dialect, product_id),
  FOREIGN KEY (merchant_id, product_id) REFERENCES product (merchant_id, product_id) ON DELETE CASCADE
);
-- Unpacking and looking aside cost half of a page: cards stay in their row as they are, up to 8 KB.
ALTER TABLE product_card SET (toast_tuple_target = 8160);
ALTER TABLE product_card ALTER body SET STORAGE EXTERNAL, ALTER body_without_cost SET STORAGE EXTERNAL;
CREATE INDEX product_card_stale ON product_card (merchant_id, stale_at) WHERE stale_at IS NOT NULL;
CALL protect_tenant('product_card');
