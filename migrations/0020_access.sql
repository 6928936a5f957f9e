-- Guessing slowed down, and what ends with a user's password.

CREATE FUNCTION tries_left_over(level double precision, since timestamptz, forgets double precision)
RETURNS double precision
LANGUAGE sql VOLATILE
AS $$ SELECT greatest(0, level - forgets * extract(epoch FROM clock_timestamp() - since) / 60) $$;
COMMENT ON FUNCTION tries_left_over IS 'Of so many tries, when so many are forgotten in each minute.';

CREATE FUNCTION wait_of_tries(wanted bytea, free integer, forgets double precision) RETURNS interval
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT coalesce((
    SELECT CASE WHEN t.level < free THEN interval '0' ELSE greatest(interval '0',
      b.since + least(900, 2 ^ least(t.level - free, 10)) * interval '1 second' - clock_timestamp()) END
    FROM rate_bucket b CROSS JOIN LATERAL tries_left_over(b.level, b.since, forgets) t (level)
    WHERE b.bucket = wanted), interval '0')
$$;
COMMENT ON FUNCTION wait_of_tries IS 'Nothing for the first tries, then 1, 2, 4 … 900 seconds after the last one.';

CREATE FUNCTION take_tries(wanted bytea[], free integer[], forgets double precision[]) RETURNS interval
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  longest interval := interval '0';
  one record;
BEGIN
  -- In one order, so that two requests that need the same rows wait for each other instead of locking up.
  FOR one IN
    SELECT w.* FROM unnest(wanted, free, forgets) AS w (bucket, free, forgets) ORDER BY w.bucket
  LOOP
    INSERT INTO rate_bucket (bucket, level, since) VALUES (one.bucket, 0, clock_timestamp())
    ON CONFLICT (bucket) DO NOTHING;
    PERFORM 1 FROM rate_bucket r WHERE r.bucket = one.bucket FOR UPDATE;
    longest := greatest(longest, wait_of_tries(one.bucket, one.free, one.forgets));
  END LOOP;
  IF longest <= interval '0' THEN
    UPDATE rate_bucket r SET level = tries_left_over(r.level, r.since, w.forgets) + 1, since = clock_timestamp()
    FROM unnest(wanted, forgets) AS w (bucket, forgets) WHERE r.bucket = w.bucket;
  END IF;
  RETURN longest;
END $$;
COMMENT ON FUNCTION take_tries IS 'Counts one try of each bucket, or answers how long to wait and counts none.';

CREATE FUNCTION forgive_tries(wanted bytea[], how_many integer[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  -- In the order in which tries are taken.
  PERFORM 1 FROM rate_bucket WHERE bucket = ANY (wanted) ORDER BY bucket FOR UPDATE;
  UPDATE rate_bucket r SET level = greatest(0, r.level - coalesce(w.how_many, r.level))
  FROM unnest(wanted, how_many) AS w (bucket, how_many) WHERE r.bucket = w.bucket;
END $$;

CREATE FUNCTION drop_links_of(wanted uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$ DELETE FROM one_time_link WHERE merchant_id = current_merchant() AND user_id = wanted $$;

CREATE FUNCTION find_link(wanted bytea, for_purpose text)
RETURNS TABLE (merchant_id uuid, user_id uuid, was_used boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT l.merchant_id, l.user_id, l.used_at IS NOT NULL FROM one_time_link l
  WHERE l.token_hash = wanted AND l.purpose = for_purpose AND l.expires_at > now()
$$;
