-- What a merchant sets about a store beyond its short texts: pages, pictures, banners and payment gateways.

ALTER TABLE store
  -- What is shown of it stands in the settings as `bvn_last4`.
  ADD COLUMN sealed_bvn bytea,
  ADD COLUMN sealed_google_key bytea;

-- Long texts lie apart: the row of the store is read with every list of locations.
CREATE TABLE store_page (
  merchant_id uuid NOT NULL,
  store_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('about', 'policy', 'privacy', 'delivery')),
  content text NOT NULL CHECK (length(content) BETWEEN 1 AND 100000),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, store_id, kind),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id)
);
CALL protect_tenant('store_page');

-- The path that people are shown stands in the settings of the store too.
CREATE TABLE store_picture (
  merchant_id uuid NOT NULL,
  store_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('logo', 'favicon')),
  picture_id uuid NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, store_id, kind),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id),
  FOREIGN KEY (merchant_id, picture_id) REFERENCES picture (merchant_id, picture_id)
);
CREATE INDEX store_picture_of ON store_picture (merchant_id, picture_id);
CALL protect_tenant('store_picture');

CREATE TABLE store_banner (
  merchant_id uuid NOT NULL,
  banner_id uuid NOT NULL,
  store_id uuid NOT NULL,
  placement text NOT NULL CHECK (placement IN ('home', 'category', 'product', 'checkout')),
  -- From 1 without gaps; written anew under the store's lock.
  position integer NOT NULL CHECK (position > 0),
  title text NOT NULL DEFAULT '',
  -- Where it leads: to a product, to an address, or nowhere. A banner outlives its product.
  product_id uuid,
  link text NOT NULL DEFAULT '',
  picture_id uuid NOT NULL,
  starts_at timestamptz,
  ends_at timestamptz,
  added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (merchant_id, banner_id),
  CHECK (product_id IS NULL OR link = ''),
  CHECK (ends_at > starts_at),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id),
  FOREIGN KEY (merchant_id, product_id) REFERENCES product (merchant_id, product_id)
    ON DELETE SET NULL (product_id),
  FOREIGN KEY (merchant_id, picture_id) REFERENCES picture (merchant_id, picture_id)
);
CREATE INDEX store_banner_order ON store_banner (merchant_id, store_id, position);
CREATE INDEX store_banner_of ON store_banner (merchant_id, picture_id);
CREATE INDEX store_banner_to ON store_banner (merchant_id, product_id) WHERE product_id IS NOT NULL;
CALL protect_tenant('store_banner');

CREATE TABLE payment_gateway (
  merchant_id uuid NOT NULL,
  gateway_id uuid NOT NULL,
  store_id uuid NOT NULL,
  -- The first one is the default.
  position integer NOT NULL CHECK (position > 0),
  provider text NOT NULL,
  kind text NOT NULL DEFAULT '',
  remark text NOT NULL DEFAULT '',
  public_key text NOT NULL DEFAULT '',
  sealed_secret_key bytea,
  sealed_webhook_secret bytea,
  PRIMARY KEY (merchant_id, gateway_id),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id)
);
CREATE INDEX payment_gateway_order ON payment_gateway (merchant_id, store_id, position);
CALL protect_tenant('payment_gateway');

-- A picture is in use while a product, a category, a person or a store shows it.
CREATE OR REPLACE FUNCTION end_picture_use(of_merchant uuid, of_picture uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM picture WHERE merchant_id = of_merchant AND picture_id = of_picture FOR UPDATE;
  UPDATE picture SET unused_since = now()
  WHERE merchant_id = of_merchant AND picture_id = of_picture
    AND NOT EXISTS (SELECT FROM product_picture p WHERE p.merchant_id = of_merchant AND p.picture_id = of_picture)
    AND NOT EXISTS (SELECT FROM category c WHERE c.merchant_id = of_merchant AND c.picture_id = of_picture)
    AND NOT EXISTS (SELECT FROM user_account u WHERE u.merchant_id = of_merchant AND u.picture_id = of_picture)
    AND NOT EXISTS (SELECT FROM store_picture s WHERE s.merchant_id = of_merchant AND s.picture_id = of_picture)
    AND NOT EXISTS (SELECT FROM store_banner b WHERE b.merchant_id = of_merchant AND b.picture_id = of_picture);
END $$;
CREATE TRIGGER note_use AFTER INSERT OR UPDATE OF picture_id OR DELETE ON store_picture
  FOR EACH ROW EXECUTE FUNCTION note_picture_use();
CREATE TRIGGER note_use AFTER INSERT OR UPDATE OF picture_id OR DELETE ON store_banner
  FOR EACH ROW EXECUTE FUNCTION note_picture_use();
