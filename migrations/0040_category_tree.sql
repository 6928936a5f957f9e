-- Categories as a tree: where each one stands, what it is called on the way down, and its picture.

ALTER TABLE category
  ADD COLUMN description text,
  ADD COLUMN visible_online boolean NOT NULL DEFAULT true,
  ADD COLUMN picture_id uuid,
  -- The name as siblings are compared and as it is searched: without case, accents and outer blanks.
  ADD COLUMN name_key text,
  -- The names from the top down to this one.
  ADD COLUMN path text[],
  -- Position and number of each category from the top down, 24 digits a level: the order of the whole tree, in
  -- which everything below a category stands between its key and its key with a ~ behind it.
  ADD COLUMN tree_key text COLLATE "C",
  ADD COLUMN version integer NOT NULL DEFAULT 1,
  ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

-- Whoever changes the tree of a merchant is alone with it; whoever puts products into it shares it with others
-- who do. Taken before any row is locked.
CREATE FUNCTION hold_category_tree() RETURNS void
LANGUAGE sql AS $$ SELECT pg_advisory_xact_lock(hashtextextended(current_merchant()::text || '/categories', 0)) $$;
CREATE FUNCTION share_category_tree() RETURNS void
LANGUAGE sql AS $$ SELECT pg_advisory_xact_lock_shared(hashtextextended(current_merchant()::text || '/categories', 0)) $$;

-- What one category adds to its tree key.
CREATE FUNCTION tree_key_of(of_position integer, of_number bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lpad(of_position::text, 10, '0') || lpad(of_number::text, 14, '0');

CREATE FUNCTION place_category() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  above record;
BEGIN
  NEW.tree_key := tree_key_of(NEW.position, NEW.number);
  NEW.path := ARRAY[NEW.name];
  IF NEW.parent_id IS NOT NULL THEN
    SELECT c.tree_key, c.path INTO above FROM category c
    WHERE c.merchant_id = NEW.merchant_id AND c.category_id = NEW.parent_id;
    -- A parent that is not there is refused by the foreign key.
    IF FOUND THEN
      IF TG_OP = 'UPDATE' AND starts_with(above.tree_key, OLD.tree_key) THEN
        RAISE EXCEPTION 'a category cannot stand below itself'
          USING ERRCODE = 'check_violation', CONSTRAINT = 'category_no_loop';
      END IF;
      NEW.tree_key := above.tree_key || NEW.tree_key;
      NEW.path := above.path || NEW.path;
    END IF;
  END IF;
  RETURN NEW;
END $$;

-- What is below goes along. A statement that moves or renames changes one category, or some that do not stand
-- below each other.
CREATE FUNCTION place_below() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE category SET tree_key = NEW.tree_key || substr(tree_key, length(OLD.tree_key) + 1),
                      path = NEW.path || path[cardinality(OLD.path) + 1 :]
  WHERE merchant_id = NEW.merchant_id AND tree_key > OLD.tree_key AND tree_key < OLD.tree_key || '~';
  RETURN NULL;
END $$;

-- What is there already: of siblings with one name the younger ones get their number behind it.
UPDATE category SET name_key = lower(regexp_replace(normalize(name, NFKD), '[\u0300-\u036f]', '', 'g'));
UPDATE category c SET name = c.name || ' ' || c.number, name_key = c.name_key || ' ' || c.number
FROM (
  SELECT merchant_id, category_id,
         row_number() OVER (PARTITION BY merchant_id, parent_id, name_key ORDER BY number) AS place
  FROM category
) s
WHERE s.merchant_id = c.merchant_id AND s.category_id = c.category_id AND s.place > 1;
WITH RECURSIVE placed AS (
  SELECT merchant_id, category_id, tree_key_of(position, number) AS tree_key, ARRAY[name] AS path
  FROM category WHERE parent_id IS NULL
  UNION ALL
  SELECT c.merchant_id, c.category_id, p.tree_key || tree_key_of(c.position, c.number), p.path || c.name
  FROM category c JOIN placed p ON p.merchant_id = c.merchant_id AND p.category_id = c.parent_id
)
UPDATE category c SET tree_key = p.tree_key, path = p.path
FROM placed p WHERE p.merchant_id = c.merchant_id AND p.category_id = c.category_id;

ALTER TABLE category
  ALTER COLUMN name_key SET NOT NULL,
  ALTER COLUMN path SET NOT NULL,
  ALTER COLUMN tree_key SET NOT NULL,
  ADD CONSTRAINT category_sibling_name UNIQUE NULLS NOT DISTINCT (merchant_id, parent_id, name_key),
  ADD CONSTRAINT category_place UNIQUE (merchant_id, tree_key),
  ADD CONSTRAINT category_depth CHECK (cardinality(path) <= 6),
  ADD CONSTRAINT category_position CHECK (position >= 0),
  ADD CONSTRAINT category_placed CHECK (
    right(tree_key, 24) = tree_key_of(position, number) AND length(tree_key) = 24 * cardinality(path)
    AND path[cardinality(path)] = name),
  ADD CONSTRAINT category_picture FOREIGN KEY (merchant_id, picture_id) REFERENCES picture (merchant_id, picture_id);
CREATE INDEX category_children ON category (merchant_id, parent_id, tree_key);
CREATE INDEX category_picture_of ON category (merchant_id, picture_id) WHERE picture_id IS NOT NULL;

-- Whoever adds many at once places them: a look-up for each would be slow.
CREATE TRIGGER place BEFORE INSERT ON category
  FOR EACH ROW WHEN (NEW.tree_key IS NULL) EXECUTE FUNCTION place_category();
CREATE TRIGGER place_again BEFORE UPDATE OF parent_id, position, name ON category
  FOR EACH ROW EXECUTE FUNCTION place_category();
CREATE TRIGGER place_below AFTER UPDATE OF parent_id, position, name ON category
  FOR EACH ROW WHEN (OLD.tree_key <> NEW.tree_key OR OLD.path <> NEW.path) EXECUTE FUNCTION place_below();

-- A product that is put into a category shows its path as it is: nobody renames or moves it meanwhile.
CREATE FUNCTION share_tree_of_links() RETURNS trigger
LANGUAGE plpgsql AS $$ BEGIN PERFORM share_category_tree(); RETURN NULL; END $$;
CREATE TRIGGER share_tree BEFORE INSERT ON product_category
  FOR EACH STATEMENT EXECUTE FUNCTION share_tree_of_links();

-- Part of a name, as a role of its own like every search of texts (0006). A merchant has 10,000 categories at most: their
-- own are read, by the index that begins with them; PostgreSQL found one of trigrams the dearer way.
GRANT SELECT ON category TO kasuwa_search;
CREATE POLICY search ON category FOR SELECT TO kasuwa_search USING (true);
GRANT USAGE, CREATE ON SCHEMA public TO kasuwa_search;

CREATE FUNCTION find_categories(wanted text, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  RETURN QUERY
    SELECT c.category_id FROM category c
    WHERE c.merchant_id = current_merchant()
      AND c.name_key LIKE '%' || regexp_replace(wanted, '([\\%_])', '\\\1', 'g') || '%'
    LIMIT most;
END $$;
ALTER FUNCTION find_categories OWNER TO kasuwa_search;
REVOKE CREATE ON SCHEMA public FROM kasuwa_search;

-- A picture is in use while a product or a category shows it.
CREATE FUNCTION begin_picture_use(of_merchant uuid, of_picture uuid) RETURNS void
LANGUAGE sql AS $$
  UPDATE picture SET unused_since = NULL
  WHERE merchant_id = of_merchant AND picture_id = of_picture AND unused_since IS NOT NULL
$$;

CREATE FUNCTION end_picture_use(of_merchant uuid, of_picture uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM picture WHERE merchant_id = of_merchant AND picture_id = of_picture FOR UPDATE;
  UPDATE picture SET unused_since = now()
  WHERE merchant_id = of_merchant AND picture_id = of_picture
    AND NOT EXISTS (SELECT FROM product_picture p WHERE p.merchant_id = of_merchant AND p.picture_id = of_picture)
    AND NOT EXISTS (SELECT FROM category c WHERE c.merchant_id = of_merchant AND c.picture_id = of_picture);
END $$;

CREATE OR REPLACE FUNCTION note_picture_use() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'DELETE' AND NEW.picture_id IS NOT NULL
      AND (TG_OP = 'INSERT' OR NEW.picture_id IS DISTINCT FROM OLD.picture_id) THEN
    PERFORM begin_picture_use(NEW.merchant_id, NEW.picture_id);
  END IF;
  IF TG_OP <> 'INSERT' AND OLD.picture_id IS NOT NULL
      AND (TG_OP = 'DELETE' OR NEW.picture_id IS DISTINCT FROM OLD.picture_id) THEN
    PERFORM end_picture_use(OLD.merchant_id, OLD.picture_id);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER note_use AFTER INSERT OR UPDATE OF picture_id OR DELETE ON category
  FOR EACH ROW EXECUTE FUNCTION note_picture_use();
