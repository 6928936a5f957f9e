-- What the installation does for itself once a day, and the proof that its sealing key is the right one.

INSERT INTO directory_table (name, reason) VALUES
  ('seal_probe', 'a known text under the sealing key, for the whole installation');

CREATE TABLE seal_probe (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  sealed bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON seal_probe FROM PUBLIC, kasuwa_app;

CREATE FUNCTION enqueue_for_each_merchant(new_kind text, round text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  INSERT INTO job (job_id, merchant_id, kind, payload, run_at, unique_key)
  SELECT gen_random_uuid(), m.merchant_id, new_kind, '{}', now() + random() * interval '1 hour',
         new_kind || ':' || m.merchant_id || ':' || round
  FROM merchant m
  ON CONFLICT (unique_key) WHERE status = 'waiting' DO NOTHING
$$;
COMMENT ON FUNCTION enqueue_for_each_merchant IS 'One job a merchant, spread over an hour; answers nobody''s name.';
