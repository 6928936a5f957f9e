-- One search for all APIs: words, prefixes, parts, typing errors. What a product is found by is kept beside it,
-- written by the database itself in the transaction of the change, whoever makes it.

-- Letters as people without accents, hooks and under-dots on their keyboard type them. Arabic goes without its
-- vowel signs and its lengthening stroke, and an apostrophe parts no word. Most texts are plain already.
CREATE FUNCTION search_plain(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN octet_length(value) = length(value) THEN lower(replace(value, '''', ''))
  ELSE translate(lower(regexp_replace(
    normalize(value, NFKD),
    '[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f''\u02bc\u2018\u2019]',
    '', 'g')), 'ɓɗƙƴŋøđłħıþðŧ', 'bdkynodlhitdt') END
$$;

CREATE FUNCTION search_words(value text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  words text[] := array_remove(regexp_split_to_array(search_plain(value), '[^[:alnum:]]+'), '');
BEGIN
  FOR i IN 1..coalesce(cardinality(words), 0) LOOP
    IF length(words[i]) > 40 THEN
      words[i] := left(words[i], 40);
    END IF;
  END LOOP;
  RETURN coalesce(words, '{}');
END $$;
COMMENT ON FUNCTION search_words IS 'The words of a text in their order, as both sides of the search spell them.';

-- The mark of a merchant stands before each word in an index: a condition on merchant_id beside it would walk
-- along all of the merchant's products. Two merchants with one mark are told apart by their rows.
CREATE FUNCTION search_mark(of_merchant uuid) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT right(of_merchant::text, 8) || '.' $$;

CREATE FUNCTION search_marked(of_merchant uuid, words text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  mark text := search_mark(of_merchant);
BEGIN
  IF words = '{}' THEN
    RETURN words;
  END IF;
  -- No word has a space in it.
  RETURN string_to_array(mark || array_to_string(words, ' ' || mark), ' ');
END $$;

-- What is left of a word when up to two of its letters are lost. Two words that are one or two typing errors
-- apart have one of these in common. Short words bear one error, and a long word's end bears any.
CREATE FUNCTION search_losses(word text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  begun text := left(word, 8);
  n integer := length(begun);
  one text;
  lost text[] := array[begun];
BEGIN
  FOR i IN 1..n LOOP
    one := left(begun, i - 1) || substr(begun, i + 1);
    lost := lost || one;
    IF n > 4 THEN
      FOR j IN i..n - 1 LOOP
        lost := lost || (left(one, j - 1) || substr(one, j + 1));
      END LOOP;
    END IF;
  END LOOP;
  RETURN lost;
END $$;

CREATE TABLE search_product (
  merchant_id uuid NOT NULL,
  product_id uuid NOT NULL,
  -- Of the name, the brand, the tags, and the names and options of variants; each marked.
  words tsvector NOT NULL,
  -- Those and the words of the description; NULL where there is none.
  described tsvector,
  PRIMARY KEY (merchant_id, product_id),
  FOREIGN KEY (merchant_id, product_id) REFERENCES product (merchant_id, product_id) ON DELETE CASCADE
);
CREATE INDEX search_product_words ON search_product USING gin (words, described);
CALL protect_tenant('search_product');

-- The merchant's words, against which typing errors are corrected. The key ends with the product that brought
-- the word: two who bring the same one at once never wait for each other, and the sweep leaves one of them.
CREATE TABLE search_word (
  merchant_id uuid NOT NULL REFERENCES merchant,
  word text COLLATE "C" NOT NULL,
  product_id uuid NOT NULL,
  losses text[] NOT NULL,  -- marked
  PRIMARY KEY (merchant_id, word, product_id)
);
CREATE INDEX search_word_losses ON search_word USING gin (losses);
CREATE INDEX search_word_parts ON search_word USING gin (merchant_id, word gin_trgm_ops);
CALL protect_tenant('search_word');

-- Prefixes are ranges, in an order that no locale changes.
CREATE INDEX variant_sku_begins ON variant (merchant_id, sku_key COLLATE "C");
CREATE INDEX variant_barcode_begins ON variant (merchant_id, barcode COLLATE "C") WHERE barcode IS NOT NULL;

-- A connection keeps its plan: one made while the tables were small would read them whole for each product long after.
CREATE FUNCTION write_search_words(of_merchant uuid, product_ids uuid[]) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
  INSERT INTO search_product AS w (merchant_id, product_id, words, described)
  SELECT p.merchant_id, p.product_id, array_to_tsvector(named.words),
         CASE WHEN p.description IS NOT NULL THEN array_to_tsvector(
           named.words || search_marked(of_merchant, search_words(left(p.description, 20000)))) END
  FROM product p
  CROSS JOIN LATERAL (
    SELECT search_marked(of_merchant, search_words(left(concat_ws(' ', left(p.name, 1000), left(p.brand, 300),
                                       array_to_string(p.tags[:100], ' '),
                                       (SELECT string_agg(concat_ws(' ', v.name, o.value), ' ')
                                        FROM (SELECT v.name, v.options FROM variant v
                                              WHERE v.merchant_id = p.merchant_id AND v.product_id = p.product_id
                                                AND v.removed_at IS NULL AND (v.name <> '' OR v.options <> '[]')
                                              ORDER BY v.position, v.variant_id LIMIT 200) v
                                        LEFT JOIN LATERAL (
                                          SELECT string_agg(e ->> 'value', ' ') AS value
                                          FROM jsonb_array_elements(v.options) e) o ON true)), 20000))) AS words
    OFFSET 0  -- once, although it is named twice
  ) named
  WHERE p.merchant_id = of_merchant AND p.product_id = ANY(product_ids)
  ORDER BY p.product_id
  ON CONFLICT (merchant_id, product_id) DO UPDATE SET words = excluded.words, described = excluded.described
  WHERE (w.words, w.described) IS DISTINCT FROM (excluded.words, excluded.described);

  INSERT INTO search_word (merchant_id, word, product_id, losses)
  SELECT of_merchant, new.word, new.product_id, search_marked(of_merchant, search_losses(new.word))
  FROM (
    SELECT DISTINCT ON (part.word COLLATE "C") part.word, w.product_id
    FROM search_product w
    CROSS JOIN LATERAL unnest(tsvector_to_array(w.words)) marked (word)
    CROSS JOIN LATERAL substr(marked.word, 10) part (word)
    WHERE w.merchant_id = of_merchant AND w.product_id = ANY(product_ids)
      AND length(part.word) > 2 AND part.word ~ '[^0-9]'
    ORDER BY part.word COLLATE "C", w.product_id
    OFFSET 0  -- each word is looked for once, however many of the products have it
  ) new
  -- In the order of the key: NOT EXISTS would read all words of the merchant for each, by such a plan.
  WHERE (SELECT k.word FROM search_word k
         WHERE k.merchant_id = of_merchant AND k.word BETWEEN (new.word COLLATE "C") AND (new.word COLLATE "C")
         ORDER BY k.word LIMIT 1) IS NULL
  ON CONFLICT (merchant_id, word, product_id) DO NOTHING;
END $$;

CREATE FUNCTION note_search_words() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'variant' THEN
    PERFORM write_search_words(c.merchant_id, array_agg(DISTINCT c.product_id)) FROM (
      SELECT n.merchant_id, n.product_id FROM new_rows n
      WHERE n.position = 0 OR n.name <> '' OR n.options <> '[]'
    ) c GROUP BY c.merchant_id;
  ELSE
    -- A product with variants waits for the first of them, what it keeps of its own, which comes with it.
    PERFORM write_search_words(n.merchant_id, array_agg(n.product_id)) FROM new_rows n
    WHERE n.kind = 'simple' GROUP BY n.merchant_id;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION renew_search_words() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'variant' THEN
    PERFORM write_search_words(n.merchant_id, array_agg(DISTINCT n.product_id))
    FROM old_rows o JOIN new_rows n USING (merchant_id, variant_id)
    WHERE (o.name, o.options, o.removed_at) IS DISTINCT FROM (n.name, n.options, n.removed_at)
    GROUP BY n.merchant_id;
  ELSE
    PERFORM write_search_words(n.merchant_id, array_agg(n.product_id))
    FROM old_rows o JOIN new_rows n USING (merchant_id, product_id)
    WHERE (o.name, o.brand, o.tags, o.description) IS DISTINCT FROM (n.name, n.brand, n.tags, n.description)
    GROUP BY n.merchant_id;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION drop_search_words() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  -- Of a product that goes as a whole nothing is left to be written.
  PERFORM write_search_words(c.merchant_id, array_agg(DISTINCT c.product_id)) FROM (
    SELECT o.merchant_id, o.product_id FROM old_rows o WHERE o.name <> '' OR o.options <> '[]'
  ) c GROUP BY c.merchant_id;
  RETURN NULL;
END $$;

CREATE TRIGGER words_of_new AFTER INSERT ON product REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION note_search_words();
CREATE TRIGGER words_of_changed AFTER UPDATE ON product REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION renew_search_words();
CREATE TRIGGER words_of_new AFTER INSERT ON variant REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION note_search_words();
CREATE TRIGGER words_of_changed AFTER UPDATE ON variant REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION renew_search_words();
CREATE TRIGGER words_of_gone AFTER DELETE ON variant REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION drop_search_words();

-- The search, as a role of its own: see 0006 --------------------------------------------------------
-- MATERIALIZED keeps the merchant and the limit out of the look-up: the planner, who does not know the words, would
-- rather walk along all of a merchant's rows than use their index. The mark in each word has chosen the merchant's.

GRANT SELECT ON search_product, search_word TO kasuwa_search;
CREATE POLICY search ON search_product FOR SELECT TO kasuwa_search USING (true);
CREATE POLICY search ON search_word FOR SELECT TO kasuwa_search USING (true);
GRANT USAGE, CREATE ON SCHEMA public TO kasuwa_search;

-- A token as one side of a tsquery.
CREATE FUNCTION search_itself(token text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT '''' || search_mark(current_merchant()) || token || '''' $$;

-- Words of the shop that may have been meant, each as one side of a tsquery: those one error away, and those up to
-- two. Letters that changed places are one error. What no single word explains may be two written together.
CREATE FUNCTION search_meant(token text, OUT one_error text, OUT two_errors text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
-- As above: a plan made while there were few words would read all of them ever after.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  lost text[] := search_marked(current_merchant(), search_losses(token));
  mark text := search_mark(current_merchant());
  letters text;
BEGIN
  IF length(token) < 3 OR token !~ '[^0-9]' THEN
    RETURN;
  END IF;
  SELECT string_agg(c, '' ORDER BY c) INTO letters FROM regexp_split_to_table(token, '') c;
  WITH near_words AS MATERIALIZED (
    SELECT s.merchant_id, s.word FROM search_word s WHERE s.losses && lost
  )
  SELECT '(' || string_agg('''' || mark || near.word || '''', ' | ') FILTER (WHERE near.errors < 2) || ')',
         '(' || string_agg('''' || mark || near.word || '''', ' | ') || ')'
  INTO one_error, two_errors FROM (
    SELECT k.word, e.errors FROM (
      SELECT DISTINCT w.word FROM near_words w WHERE w.merchant_id = current_merchant()
    ) k
    CROSS JOIN LATERAL (SELECT levenshtein_less_equal(k.word, token, 2) AS errors) l
    CROSS JOIN LATERAL (
      SELECT CASE
        WHEN l.errors = 2 AND length(k.word) = length(token)
          AND (SELECT string_agg(c, '' ORDER BY c) FROM regexp_split_to_table(k.word, '') c) = letters
        THEN 1 ELSE l.errors END AS errors
    ) e
    WHERE e.errors <= CASE WHEN length(token) < 5 THEN 1 ELSE 2 END
    ORDER BY e.errors, left(k.word, 1) <> left(token, 1), k.word
    LIMIT 20
  ) near;
  IF two_errors IS NULL AND length(token) > 4 THEN
    SELECT '(' || string_agg('(''' || mark || left(token, i) || ''' & ''' || mark || substr(token, i + 1) || ''')', ' | ') || ')'
    INTO two_errors FROM generate_series(2, length(token) - 2) i
    CROSS JOIN LATERAL (
      SELECT 1 FROM search_word a
      WHERE a.merchant_id = current_merchant() AND a.word = left(token, i) COLLATE "C" LIMIT 1) first
    CROSS JOIN LATERAL (
      SELECT 1 FROM search_word b
      WHERE b.merchant_id = current_merchant() AND b.word = substr(token, i + 1) COLLATE "C" LIMIT 1) second;
    one_error := two_errors;
  END IF;
END $$;

-- One side of a tsquery for a word that may go on. Where the shop has few words that begin so, they are named one
-- by one: a prefix in the index is read to its end before anything else is looked at. So short a beginning as one
-- or two letters would read half of the shop.
CREATE FUNCTION search_begun(token text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  mark text := search_mark(current_merchant());
  itself text := '''' || mark || token || '''';
  words text[];
BEGIN
  IF token !~ '[^0-9]' THEN
    RETURN itself || CASE WHEN length(token) > 2 THEN ':*' ELSE '' END;
  END IF;
  words := ARRAY(
    SELECT DISTINCT s.word FROM search_word s
    WHERE s.merchant_id = current_merchant() AND s.word > token COLLATE "C"
      AND s.word < (token || U&'\+10FFFF') COLLATE "C"
    ORDER BY s.word LIMIT 51);
  IF cardinality(words) > 50 THEN
    IF length(token) > 2 THEN
      RETURN itself || ':*';
    END IF;
    words := ARRAY(
      SELECT DISTINCT s.word FROM search_word s
      WHERE s.merchant_id = current_merchant() AND s.word > token COLLATE "C"
        AND s.word < (token || U&'\+10FFFF') COLLATE "C" AND s.word !~ '[0-9]'
      ORDER BY s.word LIMIT 20);
  END IF;
  IF words = '{}' THEN
    RETURN itself;
  END IF;
  RETURN '(' || itself || (SELECT string_agg(' | ''' || mark || w || '''', '') FROM unnest(words) w) || ')';
END $$;

-- Words with the token somewhere in them, as one side of a tsquery; NULL where there is none.
CREATE FUNCTION search_part(token text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
-- The plan depends on the letters: a generic one would read every word of the merchant.
SET plan_cache_mode = force_custom_plan AS $$
BEGIN
  RETURN (SELECT '(' || string_agg('''' || search_mark(current_merchant()) || part.word || '''', ' | ') || ')' FROM (
    SELECT DISTINCT k.word FROM search_word k
    WHERE length(token) > 2 AND k.merchant_id = current_merchant() AND k.word LIKE '%' || token || '%'
    ORDER BY k.word LIMIT 50) part);
END $$;

-- Products with the text somewhere in a SKU or a barcode. What LIKE reads as a wildcard stands for itself.
CREATE FUNCTION search_code_part(code text, most integer) RETURNS TABLE (found_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan
ROWS 100 AS $$
DECLARE
  pattern text := '%' || regexp_replace(code, '([\\%_])', '\\\1', 'g') || '%';
BEGIN
  RETURN QUERY
    (SELECT v.product_id FROM variant v
     WHERE v.merchant_id = current_merchant() AND v.sku_key LIKE lower(pattern) AND v.removed_at IS NULL LIMIT most)
    UNION
    (SELECT v.product_id FROM variant v
     WHERE v.merchant_id = current_merchant() AND v.barcode LIKE pattern AND v.removed_at IS NULL LIMIT most)
    LIMIT most;
END $$;

-- What each token means when those that are doubted are corrected, by one error or by two, as sides of a tsquery.
CREATE FUNCTION search_corrected(tokens text[], doubted text[], OUT near text[], OUT nearly text[])
LANGUAGE sql STABLE AS $$
  SELECT array_agg('(' || concat_ws(' | ', said.side, m.one_error) || ')' ORDER BY u.place),
         array_agg('(' || concat_ws(' | ', said.side, m.two_errors) || ')' ORDER BY u.place)
  FROM unnest(tokens) WITH ORDINALITY u (t, place)
  CROSS JOIN LATERAL (SELECT u.t = ANY(doubted) AS doubts) d
  CROSS JOIN LATERAL (SELECT CASE WHEN d.doubts THEN search_begun(u.t) ELSE search_itself(u.t) END AS side) said
  CROSS JOIN LATERAL search_meant(CASE WHEN d.doubts THEN u.t ELSE '' END) m
$$;

-- Products with all of these sides of a tsquery, and how many words they have; of those `but_not` finds, none.
CREATE FUNCTION search_having(sides text[], but_not tsquery, most integer)
RETURNS TABLE (having_id uuid, words_each integer)
LANGUAGE plpgsql STABLE ROWS 100 AS $$
DECLARE
  first tsquery := sides[1];
  second tsquery := sides[2];
  third tsquery := sides[3];
  others tsquery := array_to_string(sides[4:], ' & ');
  whole tsquery := array_to_string(sides, ' & ');
BEGIN
  IF cardinality(sides) > 3 THEN
    -- Keys of their own: the scan leaps from one word's list of products to the next, where a single query would
    -- read the list of every word.
    RETURN QUERY
      WITH w AS MATERIALIZED (
        SELECT s.merchant_id, s.product_id, s.words FROM search_product s
        WHERE s.words @@ first AND s.words @@ second AND s.words @@ third AND s.words @@ others
          AND (but_not IS NULL OR NOT s.words @@ but_not))
      SELECT w.product_id, least(length(w.words), 99) FROM w
      WHERE w.merchant_id = current_merchant() LIMIT most;
  ELSE
    RETURN QUERY
      WITH w AS MATERIALIZED (
        SELECT s.merchant_id, s.product_id, s.words FROM search_product s
        WHERE s.words @@ whole AND (but_not IS NULL OR NOT s.words @@ but_not))
      SELECT w.product_id, least(length(w.words), 99) FROM w
      WHERE w.merchant_id = current_merchant() LIMIT most;
  END IF;
END $$;

CREATE FUNCTION search_products(wanted text, most integer, in_descriptions boolean, correcting boolean)
RETURNS TABLE (found_id uuid, rank integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  -- Barcodes have their letters as they are printed.
  typed text := btrim(left(wanted, 200));
  code text := lower(typed);
  tokens text[] := (search_words(left(wanted, 200)))[:12];
  exact text[];
  begun text[];
  unknown text[];
  meant record;
  shown integer := 0;
  added integer;
BEGIN
  IF code = '' THEN
    RETURN;
  END IF;
  RETURN QUERY
    -- Each in the order of its index, which a plan made while the table was small would not choose otherwise.
    (SELECT v.product_id, 0 FROM variant v
     WHERE v.merchant_id = current_merchant() AND v.sku_key COLLATE "C" BETWEEN code AND code AND v.removed_at IS NULL
     ORDER BY v.sku_key COLLATE "C" LIMIT most)
    UNION
    (SELECT v.product_id, 0 FROM variant v
     WHERE v.merchant_id = current_merchant() AND v.barcode COLLATE "C" BETWEEN typed AND typed AND v.removed_at IS NULL
     ORDER BY v.barcode COLLATE "C" LIMIT most);
  GET DIAGNOSTICS shown = ROW_COUNT;

  IF tokens <> '{}' THEN
    SELECT array_agg(search_itself(t) ORDER BY place) INTO exact FROM unnest(tokens) WITH ORDINALITY u (t, place);
    RETURN QUERY SELECT h.having_id, 100 + h.words_each FROM search_having(exact, NULL, most) h;
    GET DIAGNOSTICS added = ROW_COUNT;
    shown := shown + added;
    -- As somebody types: the last word may be unfinished.
    begun := exact[:cardinality(exact) - 1] || search_begun(tokens[cardinality(tokens)]);
    IF begun <> exact AND shown < most THEN
      RETURN QUERY
        SELECT h.having_id, 200 + h.words_each
        FROM search_having(begun, array_to_string(exact, ' & ')::tsquery, most - shown) h;
      GET DIAGNOSTICS added = ROW_COUNT;
      shown := shown + added;
    END IF;
  END IF;
  IF length(code) > 2 AND shown < most AND cardinality(tokens) < 6 THEN
    RETURN QUERY
      SELECT b.product_id, 300 FROM (
        (SELECT v.product_id FROM variant v
         WHERE v.merchant_id = current_merchant()
           AND v.sku_key COLLATE "C" > code AND v.sku_key COLLATE "C" < code || U&'\+10FFFF'
           AND v.removed_at IS NULL
         ORDER BY v.sku_key COLLATE "C" LIMIT most)
        UNION
        (SELECT v.product_id FROM variant v
         WHERE v.merchant_id = current_merchant()
           AND v.barcode COLLATE "C" > typed AND v.barcode COLLATE "C" < typed || U&'\+10FFFF'
           AND v.removed_at IS NULL
         ORDER BY v.barcode COLLATE "C" LIMIT most)
      ) b LIMIT most - shown;
    GET DIAGNOSTICS added = ROW_COUNT;
    shown := shown + added;
  END IF;
  IF in_descriptions AND shown < most AND tokens <> '{}' THEN
    RETURN QUERY
      WITH d AS (SELECT array_to_string(begun, ' & ')::tsquery AS said),
      w AS MATERIALIZED (
        SELECT s.merchant_id, s.product_id FROM d, search_product s
        WHERE s.described @@ d.said AND NOT s.words @@ d.said)
      SELECT w.product_id, 350 FROM w
      WHERE w.merchant_id = current_merchant() LIMIT most - shown;
    GET DIAGNOSTICS added = ROW_COUNT;
    shown := shown + added;
  END IF;
  -- Only who has found nothing may have shortened every word, or have meant something else.
  IF shown = 0 AND cardinality(tokens) > 1 THEN
    SELECT array_agg(search_begun(t) ORDER BY place) INTO begun FROM unnest(tokens) WITH ORDINALITY u (t, place);
    RETURN QUERY SELECT h.having_id, 400 + h.words_each FROM search_having(begun, NULL, most) h;
    GET DIAGNOSTICS shown = ROW_COUNT;
  END IF;
  IF shown = 0 AND correcting AND tokens <> '{}' THEN
    -- Words that the shop knows stand as they are at first: what they may have meant are common words, whose
    -- products would all be walked along.
    unknown := ARRAY(
      SELECT t FROM unnest(tokens) t WHERE t ~ '[^0-9]'
        AND (SELECT s.word FROM search_word s
             WHERE s.merchant_id = current_merchant() AND s.word BETWEEN (t COLLATE "C") AND (t COLLATE "C")
             ORDER BY s.word LIMIT 1) IS NULL);
    FOR pass IN CASE WHEN unknown = '{}' THEN 2 ELSE 1 END..2 LOOP
      SELECT * INTO meant FROM search_corrected(tokens, CASE pass WHEN 1 THEN unknown ELSE tokens END);
      RETURN QUERY SELECT h.having_id, 300 + 200 * pass + h.words_each FROM search_having(meant.near, NULL, most) h;
      GET DIAGNOSTICS shown = ROW_COUNT;
      EXIT WHEN shown > 0;
      RETURN QUERY SELECT h.having_id, 400 + 200 * pass + h.words_each FROM search_having(meant.nearly, NULL, most) h;
      GET DIAGNOSTICS shown = ROW_COUNT;
      EXIT WHEN shown > 0;
    END LOOP;
    IF shown = 0 AND cardinality(tokens) > 2 THEN
      -- All words but one, whichever: a short one that nothing explains, or two written as one and misspelt.
      RETURN QUERY SELECT h.having_id, 900 + h.words_each FROM search_having(array[(
        SELECT string_agg('(' || rest.sides || ')', ' | ') FROM (
          SELECT string_agg(meant.nearly[i], ' & ') AS sides
          FROM generate_subscripts(tokens, 1) o CROSS JOIN generate_subscripts(tokens, 1) i WHERE i <> o GROUP BY o
        ) rest)], NULL, most) h;
      GET DIAGNOSTICS shown = ROW_COUNT;
    END IF;
  END IF;
  -- The last resort: parts of words, and of codes where it looks like one.
  IF shown = 0 AND tokens <> '{}' THEN
    SELECT array_agg(coalesce(search_part(t), search_begun(t)) ORDER BY place) INTO begun
    FROM unnest(tokens) WITH ORDINALITY u (t, place);
    RETURN QUERY SELECT h.having_id, 1000 FROM search_having(begun, NULL, most) h;
    GET DIAGNOSTICS shown = ROW_COUNT;
    IF shown = 0 AND length(code) > 2 AND code ~ '^\S*[0-9]\S*$' THEN
      RETURN QUERY SELECT c.found_id, 1100 FROM search_code_part(typed, most) c;
    END IF;
  END IF;
END $$;
-- Ids of the current merchant's products, `most` at most, each with its place: exact code, all words, the last one
-- begun, beginning of a code, words of descriptions, all words begun, typing errors in words that the shop does not
-- know, in any word, all words but one, parts; within each, products with the fewest other words first. Ids may come
-- twice.

-- The next words of the vocabulary, and which of them no product has any more.
CREATE FUNCTION search_idle_words(after text, how_many integer) RETURNS TABLE (known_word text, is_idle boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
SET plan_cache_mode = force_generic_plan ROWS 1000 AS $$
DECLARE
  mark text := search_mark(current_merchant());
BEGIN
  RETURN QUERY
    SELECT k.word::text, u.product_id IS NULL FROM (
      SELECT DISTINCT s.word FROM search_word s
      WHERE s.merchant_id = current_merchant() AND s.word > after COLLATE "C" ORDER BY s.word LIMIT how_many
    ) k
    LEFT JOIN LATERAL (
      WITH w AS MATERIALIZED (
        SELECT p.merchant_id, p.product_id FROM search_product p
        WHERE p.words @@ ('''' || mark || k.word || '''')::tsquery)
      SELECT w.product_id FROM w WHERE w.merchant_id = current_merchant() LIMIT 1
    ) u ON true
    ORDER BY k.word;
END $$;

ALTER FUNCTION search_idle_words OWNER TO kasuwa_search;
ALTER FUNCTION search_meant OWNER TO kasuwa_search;
ALTER FUNCTION search_part OWNER TO kasuwa_search;
ALTER FUNCTION search_code_part OWNER TO kasuwa_search;
ALTER FUNCTION search_begun OWNER TO kasuwa_search;
ALTER FUNCTION search_products OWNER TO kasuwa_search;
REVOKE CREATE ON SCHEMA public FROM kasuwa_search;
