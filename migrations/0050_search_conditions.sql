-- What conditions on brand, tag and selling price go by, so that a search without a text does not read every product
-- of the merchant. Equality of texts and comparisons of bigint are leakproof: row-level security lets them use an index.

-- Many products have one brand: such keys share their space in the index.
CREATE INDEX product_of_brand ON product (merchant_id, brand) WHERE brand IS NOT NULL;
CREATE INDEX price_selling ON price (merchant_id, selling_minor);

-- The tags of products one by one: conditions on an array are not leakproof. Written by the database in the
-- transaction of the change, like the words of the search; what is too long to be asked for is left out.
CREATE TABLE product_tag (
  merchant_id uuid NOT NULL,
  tag text NOT NULL CHECK (length(tag) <= 500),
  product_id uuid NOT NULL,
  PRIMARY KEY (merchant_id, tag, product_id)
);
CALL protect_tenant('product_tag');

CREATE FUNCTION add_tags() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO product_tag (merchant_id, tag, product_id)
  SELECT DISTINCT n.merchant_id, t.tag, n.product_id FROM new_rows n CROSS JOIN LATERAL unnest(n.tags) t (tag)
  WHERE length(t.tag) <= 500;
  RETURN NULL;
END $$;

-- A connection keeps its plans, as in write_search_words().
CREATE FUNCTION drop_tags() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  DELETE FROM product_tag k
  USING (SELECT o.merchant_id, t.tag, o.product_id FROM old_rows o CROSS JOIN LATERAL unnest(o.tags) t (tag)) g
  WHERE k.merchant_id = g.merchant_id AND k.tag = g.tag AND k.product_id = g.product_id;
  RETURN NULL;
END $$;

CREATE FUNCTION change_tags() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  -- Not by a join: a plan made for one product would compare each of a thousand with each.
  DELETE FROM product_tag k
  USING (
    SELECT o.merchant_id, t.tag, o.product_id FROM old_rows o CROSS JOIN LATERAL unnest(o.tags) t (tag)
    EXCEPT
    SELECT n.merchant_id, t.tag, n.product_id FROM new_rows n CROSS JOIN LATERAL unnest(n.tags) t (tag)
  ) g
  WHERE k.merchant_id = g.merchant_id AND k.tag = g.tag AND k.product_id = g.product_id;
  INSERT INTO product_tag (merchant_id, tag, product_id)
  SELECT n.merchant_id, t.tag, n.product_id FROM new_rows n CROSS JOIN LATERAL unnest(n.tags) t (tag)
  WHERE length(t.tag) <= 500
  EXCEPT
  SELECT o.merchant_id, t.tag, o.product_id FROM old_rows o CROSS JOIN LATERAL unnest(o.tags) t (tag);
  RETURN NULL;
END $$;

CREATE TRIGGER tags_of_new AFTER INSERT ON product REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION add_tags();
CREATE TRIGGER tags_of_gone AFTER DELETE ON product REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION drop_tags();
CREATE TRIGGER tags_of_changed AFTER UPDATE ON product REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION change_tags();

INSERT INTO product_tag (merchant_id, tag, product_id)
SELECT DISTINCT p.merchant_id, t.tag, p.product_id FROM product p CROSS JOIN LATERAL unnest(p.tags) t (tag)
WHERE length(t.tag) <= 500;
