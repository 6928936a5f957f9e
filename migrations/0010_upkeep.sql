-- What the installation does for itself once a day, and the proof that its sealing key is the right one.

INSERT INTO directory_table (name, reason) VALUES
  ('seal_probe', 'a known text under the sealing key, for the whole installation'),
  ('card_code', 'which code wrote the cards, for the whole installation');

CREATE TABLE seal_probe (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  sealed bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON seal_probe FROM PUBLIC, kasuwa_app;

CREATE FUNCTION enqueue_for_each_merchant(
  new_kind text, round text, spread interval DEFAULT '0'
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  INSERT INTO job (job_id, merchant_id, kind, payload, run_at, unique_key)
  SELECT gen_random_uuid(), m.merchant_id, new_kind, '{}', now() + random() * spread,
         new_kind || ':' || m.merchant_id || ':' || round
  FROM merchant m
  ON CONFLICT (unique_key) WHERE status = 'waiting' AND attempts = 0 DO NOTHING
$$;
COMMENT ON FUNCTION enqueue_for_each_merchant IS 'One job a merchant, spread over a time; answers nobody''s name.';

-- The code that writes cards is known by a hash: another one means that every card is to be written anew.
CREATE TABLE card_code (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  hash text NOT NULL
);
REVOKE ALL ON card_code FROM PUBLIC, kasuwa_app;

CREATE FUNCTION note_card_code(new_hash text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO card_code AS c (hash) VALUES (new_hash)
  ON CONFLICT (only_one) DO UPDATE SET hash = excluded.hash WHERE c.hash <> excluded.hash;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION note_card_code IS 'True for the one caller that brings another code than the last.';
