-- What a merchant keeps here, counted in the statement that changes it, and how much of it is allowed.

-- One row a merchant. `most_…` is the operator's word for this merchant: NULL leaves it to the setting,
-- 0 allows any number. Files are those of pictures that something shows; an archived product is not kept.
CREATE TABLE merchant_use (
  merchant_id uuid PRIMARY KEY REFERENCES merchant,
  files bigint NOT NULL DEFAULT 0,
  file_bytes bigint NOT NULL DEFAULT 0,
  products bigint NOT NULL DEFAULT 0,
  variants bigint NOT NULL DEFAULT 0,
  most_files bigint CHECK (most_files >= 0),
  most_file_bytes bigint CHECK (most_file_bytes >= 0),
  most_products bigint CHECK (most_products >= 0),
  most_variants bigint CHECK (most_variants >= 0)
);
-- Counting rewrites the row again and again: room for that in its page.
ALTER TABLE merchant_use SET (fillfactor = 50);
CALL protect_tenant('merchant_use');

-- The settings' word comes with the connection: each process brings its own.
CREATE FUNCTION allowed_by_setting(kind text) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT nullif(current_setting('app.quota_' || kind, true), '')::bigint $$;

CREATE FUNCTION refuse_beyond(kind text, kept bigint, most bigint) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  allowed bigint := coalesce(most, allowed_by_setting(kind), 0);
BEGIN
  IF allowed > 0 AND kept > allowed THEN
    -- A code of our own: whoever calls from Python gets a QuotaReached.
    RAISE EXCEPTION 'quota of % reached', kind USING ERRCODE = 'KW507', DETAIL = kind || ' ' || allowed;
  END IF;
END $$;

-- Who has less than before, or is above a quota that was lowered, is not refused for it.
CREATE FUNCTION refuse_beyond_quota() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.files > OLD.files THEN
    PERFORM refuse_beyond('files', NEW.files, NEW.most_files);
    PERFORM refuse_beyond('file_bytes', NEW.file_bytes, NEW.most_file_bytes);
  END IF;
  IF NEW.products > OLD.products THEN
    PERFORM refuse_beyond('products', NEW.products, NEW.most_products);
  END IF;
  IF NEW.variants > OLD.variants THEN
    PERFORM refuse_beyond('variants', NEW.variants, NEW.most_variants);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER quota AFTER UPDATE ON merchant_use FOR EACH ROW
  WHEN (NEW.files > OLD.files OR NEW.products > OLD.products OR NEW.variants > OLD.variants)
  EXECUTE FUNCTION refuse_beyond_quota();

CREATE FUNCTION require_file_room(size_bytes bigint) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  u merchant_use;
BEGIN
  SELECT * INTO u FROM merchant_use WHERE merchant_id = current_merchant();
  PERFORM refuse_beyond('files', u.files + 1, u.most_files);
  PERFORM refuse_beyond('file_bytes', u.file_bytes + size_bytes, u.most_file_bytes);
END $$;
COMMENT ON FUNCTION require_file_room IS 'Refuses a file before it is written; what settles races is the count when it is shown.';

CREATE FUNCTION begin_use() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO merchant_use (merchant_id) VALUES (NEW.merchant_id);
  RETURN NULL;
END $$;
CREATE TRIGGER begin_use AFTER INSERT ON merchant FOR EACH ROW EXECUTE FUNCTION begin_use();

-- The row of use is held before the counters of 0003, always: so no two wait for each other.
CREATE OR REPLACE FUNCTION count_products() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE merchant_use u SET products = u.products + n.kept
    FROM (SELECT merchant_id, count(*) FILTER (WHERE status <> 'archived') AS kept
          FROM new_rows GROUP BY 1 ORDER BY 1) n
    WHERE u.merchant_id = n.merchant_id;
    INSERT INTO merchant_counter AS c (merchant_id, name, value)
    SELECT merchant_id, 'products.' || status, count(*) FROM new_rows GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (merchant_id, name) DO UPDATE SET value = c.value + excluded.value;
  ELSIF TG_OP = 'DELETE' THEN
    UPDATE merchant_use u SET products = u.products - n.kept
    FROM (SELECT merchant_id, count(*) FILTER (WHERE status <> 'archived') AS kept
          FROM old_rows GROUP BY 1 ORDER BY 1) n
    WHERE u.merchant_id = n.merchant_id;
    INSERT INTO merchant_counter AS c (merchant_id, name, value)
    SELECT merchant_id, 'products.' || status, -count(*) FROM old_rows GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (merchant_id, name) DO UPDATE SET value = c.value + excluded.value;
  ELSIF EXISTS (SELECT FROM old_rows o JOIN new_rows w USING (merchant_id, product_id) WHERE o.status <> w.status) THEN
    UPDATE merchant_use u SET products = u.products + n.kept
    FROM (
      SELECT w.merchant_id, count(*) FILTER (WHERE o.status = 'archived')
                            - count(*) FILTER (WHERE w.status = 'archived') AS kept
      FROM old_rows o JOIN new_rows w USING (merchant_id, product_id) WHERE o.status <> w.status
      GROUP BY 1 ORDER BY 1
    ) n
    WHERE u.merchant_id = n.merchant_id;
    INSERT INTO merchant_counter AS c (merchant_id, name, value)
    SELECT merchant_id, name, sum(n) FROM (
      SELECT o.merchant_id, 'products.' || o.status AS name, -1 AS n
      FROM old_rows o JOIN new_rows w USING (merchant_id, product_id) WHERE o.status <> w.status
      UNION ALL
      SELECT w.merchant_id, 'products.' || w.status, 1
      FROM old_rows o JOIN new_rows w USING (merchant_id, product_id) WHERE o.status <> w.status
    ) moved GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (merchant_id, name) DO UPDATE SET value = c.value + excluded.value;
  END IF;
  RETURN NULL;
END $$;

-- What is sold counts: the row at position 0, which is a product's own while it has variants, is none of them.
CREATE FUNCTION count_variants() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE merchant_use u SET variants = u.variants + n.kept
    FROM (SELECT merchant_id, count(*) AS kept FROM new_rows
          WHERE NOT archived AND position > 0 GROUP BY 1 ORDER BY 1) n
    WHERE u.merchant_id = n.merchant_id;
  ELSIF TG_OP = 'DELETE' THEN
    UPDATE merchant_use u SET variants = u.variants - n.kept
    FROM (SELECT merchant_id, count(*) AS kept FROM old_rows
          WHERE NOT archived AND position > 0 GROUP BY 1 ORDER BY 1) n
    WHERE u.merchant_id = n.merchant_id;
  ELSE
    UPDATE merchant_use u SET variants = u.variants + n.kept
    FROM (
      SELECT w.merchant_id, count(*) FILTER (WHERE NOT w.archived AND w.position > 0)
                            - count(*) FILTER (WHERE NOT o.archived AND o.position > 0) AS kept
      FROM old_rows o JOIN new_rows w USING (merchant_id, variant_id)
      WHERE o.archived <> w.archived OR (o.position > 0) <> (w.position > 0)
      GROUP BY 1 ORDER BY 1
    ) n
    WHERE u.merchant_id = n.merchant_id;
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
BEGIN
  UPDATE merchant_use u SET
    files = u.files + CASE WHEN TG_OP = 'UPDATE' AND NEW.unused_since IS NULL THEN 1 ELSE -1 END,
    file_bytes = u.file_bytes + CASE WHEN TG_OP = 'UPDATE' AND NEW.unused_since IS NULL THEN 1 ELSE -1 END
                              * coalesce(OLD.size_bytes, 0)
  WHERE u.merchant_id = OLD.merchant_id;
  RETURN NULL;
END $$;
CREATE TRIGGER count_use AFTER UPDATE OF unused_since ON picture FOR EACH ROW
  WHEN ((OLD.unused_since IS NULL) <> (NEW.unused_since IS NULL)) EXECUTE FUNCTION count_files();
CREATE TRIGGER count_gone AFTER DELETE ON picture FOR EACH ROW
  WHEN (OLD.unused_since IS NULL) EXECUTE FUNCTION count_files();

-- The triggers above hold the tables until this is committed, so that nothing is counted twice or not at all.
INSERT INTO merchant_use (merchant_id, files, file_bytes, products, variants)
SELECT m.merchant_id,
  (SELECT count(*) FROM picture p WHERE p.merchant_id = m.merchant_id AND p.unused_since IS NULL),
  (SELECT coalesce(sum(p.size_bytes), 0) FROM picture p
   WHERE p.merchant_id = m.merchant_id AND p.unused_since IS NULL),
  (SELECT count(*) FROM product p WHERE p.merchant_id = m.merchant_id AND p.status <> 'archived'),
  (SELECT count(*) FROM variant v WHERE v.merchant_id = m.merchant_id
     AND NOT v.archived AND v.position > 0)
FROM merchant m;
