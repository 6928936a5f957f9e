-- Pictures: the bytes once for each merchant, a place and an alt text for each product.

CREATE TABLE picture (
  merchant_id uuid NOT NULL REFERENCES merchant,
  picture_id uuid NOT NULL,
  sha256 bytea NOT NULL,
  -- Before the files are written the row only claims them: format is NULL until they are all there.
  format text,
  width_px integer,
  height_px integer,
  size_bytes bigint,
  renditions jsonb NOT NULL DEFAULT '[]',
  created_at timestamptz NOT NULL DEFAULT now(),
  -- Since when no product shows it. The sweep takes it a day later, under the row's lock.
  unused_since timestamptz DEFAULT now(),
  PRIMARY KEY (merchant_id, picture_id),
  UNIQUE (merchant_id, sha256)
);
CREATE INDEX picture_unused ON picture (merchant_id, unused_since) WHERE unused_since IS NOT NULL;
CALL protect_tenant('picture');

CREATE TABLE product_picture (
  merchant_id uuid NOT NULL,
  product_picture_id uuid NOT NULL,
  number bigint NOT NULL,
  product_id uuid NOT NULL,
  picture_id uuid NOT NULL,
  -- The order is (sort_order, number); a position from 1 is the rank in it.
  sort_order integer NOT NULL,
  alt_text text NOT NULL DEFAULT '',
  is_thumbnail boolean NOT NULL DEFAULT false,
  added_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, product_picture_id),
  UNIQUE (merchant_id, number),
  FOREIGN KEY (merchant_id, product_id) REFERENCES product (merchant_id, product_id) ON DELETE CASCADE,
  FOREIGN KEY (merchant_id, picture_id) REFERENCES picture (merchant_id, picture_id)
);
CREATE INDEX product_picture_order ON product_picture (merchant_id, product_id, sort_order, number);
CREATE INDEX product_picture_of ON product_picture (merchant_id, picture_id);
CREATE UNIQUE INDEX product_picture_thumbnail ON product_picture (merchant_id, product_id) WHERE is_thumbnail;
CALL protect_tenant('product_picture');

-- Whoever takes the last place of a picture away starts its day; whoever shows it again ends it.
CREATE FUNCTION note_picture_use() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND NEW.picture_id <> OLD.picture_id) THEN
    UPDATE picture SET unused_since = NULL
    WHERE merchant_id = NEW.merchant_id AND picture_id = NEW.picture_id AND unused_since IS NOT NULL;
  END IF;
  IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND NEW.picture_id <> OLD.picture_id) THEN
    PERFORM 1 FROM picture WHERE merchant_id = OLD.merchant_id AND picture_id = OLD.picture_id FOR UPDATE;
    UPDATE picture SET unused_since = now()
    WHERE merchant_id = OLD.merchant_id AND picture_id = OLD.picture_id AND NOT EXISTS (
      SELECT FROM product_picture p WHERE p.merchant_id = OLD.merchant_id AND p.picture_id = OLD.picture_id);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER note_use AFTER INSERT OR UPDATE OR DELETE ON product_picture
  FOR EACH ROW EXECUTE FUNCTION note_picture_use();
