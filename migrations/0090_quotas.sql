-- What a merchant keeps here, counted in the statement that changes it, and how much of it is allowed.

-- One row a merchant. `most_…` is the operator's word for this merchant: NULL leaves it to the setting,
-- 0 allows any number. Counted are pictures that something shows, products that are not archived, variants
-- that are sold and customers who are not erased, in parts of merchant_counter, so that nobody waits where
-- there is no quota.
CREATE TABLE merchant_quota (
  merchant_id uuid PRIMARY KEY REFERENCES merchant,
  most_files bigint CHECK (most_files >= 0),
  most_file_bytes bigint CHECK (most_file_bytes >= 0),
  most_products bigint CHECK (most_products >= 0),
  most_variants bigint CHECK (most_variants >= 0),
  most_customers bigint CHECK (most_customers >= 0)
);
CALL protect_tenant('merchant_quota');

CREATE FUNCTION begin_quota() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO merchant_quota (merchant_id) VALUES (NEW.merchant_id);
  RETURN NULL;
END $$;
CREATE TRIGGER begin_quota AFTER INSERT ON merchant FOR EACH ROW EXECUTE FUNCTION begin_quota();

CREATE FUNCTION kept_by(of_merchant uuid, kind text) RETURNS bigint
LANGUAGE sql STABLE
AS $$
  SELECT coalesce(sum(c.value), 0)::bigint FROM merchant_counter c
  WHERE c.merchant_id = of_merchant
    AND c.name = ANY (CASE kind WHEN 'products' THEN ARRAY['products.active', 'products.inactive']
                                ELSE ARRAY['kept.' || kind] END)
$$;

-- The settings' word comes with the connection: each process brings its own.
CREATE FUNCTION allowed_to(of_merchant uuid, kind text) RETURNS bigint
LANGUAGE sql STABLE
AS $$
  SELECT coalesce(
    (SELECT CASE kind WHEN 'files' THEN q.most_files WHEN 'file_bytes' THEN q.most_file_bytes
                      WHEN 'products' THEN q.most_products WHEN 'variants' THEN q.most_variants
                      WHEN 'customers' THEN q.most_customers END
     FROM merchant_quota q WHERE q.merchant_id = of_merchant),
    nullif(current_setting('app.quota_' || kind, true), '')::bigint, 0)
$$;
COMMENT ON FUNCTION allowed_to IS 'How many the merchant may keep; 0 is any number.';

CREATE FUNCTION refuse_beyond(kind text, kept bigint, allowed bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF allowed > 0 AND kept > allowed THEN
    -- A code of our own: whoever calls from Python gets a QuotaReached.
    RAISE EXCEPTION 'quota of % reached', kind USING ERRCODE = 'KW507', DETAIL = kind || ' ' || allowed;
  END IF;
END $$;

CREATE FUNCTION require_quota(of_merchant uuid, kind text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  allowed bigint := allowed_to(of_merchant, kind);
BEGIN
  IF allowed > 0 THEN
    -- Whoever comes second waits here, and then sees what the first one added.
    PERFORM 1 FROM merchant_quota q WHERE q.merchant_id = of_merchant FOR NO KEY UPDATE;
    PERFORM refuse_beyond(kind, kept_by(of_merchant, kind), allowed);
  END IF;
END $$;
COMMENT ON FUNCTION require_quota IS 'After something was added to what is counted; holds the quota until the transaction ends.';

CREATE FUNCTION require_file_room(size_bytes bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM refuse_beyond(k.kind, kept_by(current_merchant(), k.kind) + k.more, allowed_to(current_merchant(), k.kind))
  FROM (VALUES ('files', 1::bigint), ('file_bytes', size_bytes)) AS k (kind, more);
END $$;
COMMENT ON FUNCTION require_file_room IS 'Refuses a file before it is written; what settles races is the count when it is shown.';

-- After the counts of 0003, by name. Nothing comes back from the archive.
CREATE FUNCTION require_products() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM require_quota(n.merchant_id, 'products') FROM (SELECT DISTINCT merchant_id FROM new_rows) n;
  RETURN NULL;
END $$;
CREATE TRIGGER quota AFTER INSERT ON product REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION require_products();

-- What is sold counts: the row at position 0, which is a product's own while it has variants, is none of them.
CREATE FUNCTION count_variants() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  one record;
BEGIN
  IF TG_OP = 'INSERT' THEN
    FOR one IN SELECT merchant_id, count(*) AS n FROM new_rows WHERE NOT archived AND position > 0 GROUP BY 1 ORDER BY 1 LOOP
      PERFORM add_to_total(one.merchant_id, 'kept.variants', one.n);
      PERFORM require_quota(one.merchant_id, 'variants');
    END LOOP;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM add_to_total(o.merchant_id, 'kept.variants', -o.n) FROM (
      SELECT merchant_id, count(*) AS n FROM old_rows WHERE NOT archived AND position > 0 GROUP BY 1 ORDER BY 1
    ) o;
  ELSE
    FOR one IN
      SELECT w.merchant_id, count(*) FILTER (WHERE NOT w.archived AND w.position > 0)
                            - count(*) FILTER (WHERE NOT o.archived AND o.position > 0) AS n
      FROM old_rows o JOIN new_rows w USING (merchant_id, variant_id)
      WHERE o.archived <> w.archived OR (o.position > 0) <> (w.position > 0)
      GROUP BY 1 ORDER BY 1
    LOOP
      IF one.n <> 0 THEN
        PERFORM add_to_total(one.merchant_id, 'kept.variants', one.n);
      END IF;
      IF one.n > 0 THEN
        PERFORM require_quota(one.merchant_id, 'variants');
      END IF;
    END LOOP;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER count_new AFTER INSERT ON variant REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_variants();
CREATE TRIGGER count_gone AFTER DELETE ON variant REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_variants();
CREATE TRIGGER count_moved AFTER UPDATE ON variant REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_variants();

-- A picture counts once, however many things show it, and from the moment nothing does no more.
CREATE FUNCTION count_files() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  is_new boolean := TG_OP = 'UPDATE' AND NEW.unused_since IS NULL;
  sign integer := CASE WHEN is_new THEN 1 ELSE -1 END;
BEGIN
  PERFORM add_to_total(OLD.merchant_id, 'kept.files', sign);
  PERFORM add_to_total(OLD.merchant_id, 'kept.file_bytes', sign * coalesce(OLD.size_bytes, 0));
  IF is_new THEN
    PERFORM require_quota(OLD.merchant_id, 'files');
    PERFORM require_quota(OLD.merchant_id, 'file_bytes');
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER count_use AFTER UPDATE OF unused_since ON picture FOR EACH ROW
  WHEN ((OLD.unused_since IS NULL) <> (NEW.unused_since IS NULL)) EXECUTE FUNCTION count_files();
CREATE TRIGGER count_gone AFTER DELETE ON picture FOR EACH ROW
  WHEN (OLD.unused_since IS NULL) EXECUTE FUNCTION count_files();

-- What came with a complaint takes space like a picture, but is none: it counts by its bytes alone.
CREATE FUNCTION count_attachments() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM add_to_total(NEW.merchant_id, 'kept.file_bytes', length(NEW.content));
    PERFORM require_quota(NEW.merchant_id, 'file_bytes');
  ELSE
    PERFORM add_to_total(OLD.merchant_id, 'kept.file_bytes', -length(OLD.content));
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER count_bytes AFTER INSERT OR DELETE ON complaint_attachment
  FOR EACH ROW EXECUTE FUNCTION count_attachments();

-- What is left of a customer who was erased is nobody, and does not come back.
CREATE FUNCTION count_customers() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  one record;
BEGIN
  IF TG_OP = 'INSERT' THEN
    FOR one IN SELECT merchant_id, count(*) AS n FROM new_rows WHERE status <> 'erased' GROUP BY 1 ORDER BY 1 LOOP
      PERFORM add_to_total(one.merchant_id, 'kept.customers', one.n);
      PERFORM require_quota(one.merchant_id, 'customers');
    END LOOP;
  ELSE
    PERFORM add_to_total(o.merchant_id, 'kept.customers', -o.n) FROM (
      SELECT merchant_id, count(*) AS n FROM old_rows WHERE status <> 'erased' GROUP BY 1 ORDER BY 1
    ) o;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER count_new AFTER INSERT ON customer REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_customers();
CREATE TRIGGER count_gone AFTER DELETE ON customer REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_customers();

CREATE FUNCTION count_erased() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM add_to_total(OLD.merchant_id, 'kept.customers', -1);
  RETURN NULL;
END $$;
CREATE TRIGGER count_erased AFTER UPDATE OF status ON customer FOR EACH ROW
  WHEN (OLD.status <> 'erased' AND NEW.status = 'erased') EXECUTE FUNCTION count_erased();

-- The triggers above hold the tables until this is committed, so that nothing is counted twice or not at all.
INSERT INTO merchant_quota (merchant_id) SELECT merchant_id FROM merchant;
INSERT INTO merchant_counter (merchant_id, name, value)
SELECT merchant_id, 'kept.variants', count(*) FROM variant WHERE NOT archived AND position > 0 GROUP BY 1
UNION ALL SELECT merchant_id, 'kept.customers', count(*) FROM customer WHERE status <> 'erased' GROUP BY 1
UNION ALL SELECT merchant_id, 'kept.files', count(*) FROM picture WHERE unused_since IS NULL GROUP BY 1
UNION ALL SELECT merchant_id, 'kept.file_bytes', sum(size_bytes) FROM (
            SELECT merchant_id, coalesce(size_bytes, 0) AS size_bytes FROM picture WHERE unused_since IS NULL
            UNION ALL SELECT merchant_id, length(content) FROM complaint_attachment) f GROUP BY 1;
