-- Of a table that was never analyzed the planner knows nothing, and a connection keeps what it planned then, the checks of
-- foreign keys too: it may look for one product among all of its merchant's. Autovacuum comes by after a minute,
-- when the first import of a shop has written ten thousands of products that way. So whoever writes many rows
-- asks here, again each time the tables have grown to four times what the planner knows of.
CREATE FUNCTION refresh_statistics() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  grown regclass;
  refreshed integer := 0;
BEGIN
  FOR grown IN
    SELECT c.oid FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relowner = current_user::text::regrole
      AND pg_relation_size(c.oid) / current_setting('block_size')::integer > 4 * (c.relpages + 1)
    ORDER BY c.oid
  LOOP
    -- Whom another one is analyzing is left to that one.
    EXECUTE format('ANALYZE (SKIP_LOCKED) %s', grown);
    refreshed := refreshed + 1;
  END LOOP;
  RETURN refreshed;
END $$;
COMMENT ON FUNCTION refresh_statistics IS 'Analyzes the tables that have grown much since they were; answers how many.';
