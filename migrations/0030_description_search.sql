-- Words of a description find a product too, for APIs whose search promises that.

-- A text of any length is read as far as a tsvector can hold.
CREATE INDEX product_description_words
  ON product USING gin (merchant_id, to_tsvector('simple', left(description, 100000)));

GRANT USAGE, CREATE ON SCHEMA public TO kasuwa_search;

CREATE FUNCTION find_described_products(wanted text, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  RETURN QUERY
    SELECT found.product_id FROM (
      SELECT product_id FROM find_products(wanted, most) AS product_id
      UNION
      SELECT p.product_id FROM product p
      WHERE p.merchant_id = current_merchant()
        AND to_tsvector('simple', left(p.description, 100000)) @@ plainto_tsquery('simple', wanted)
    ) found
    LIMIT most;
END $$;
ALTER FUNCTION find_described_products OWNER TO kasuwa_search;
REVOKE CREATE ON SCHEMA public FROM kasuwa_search;
