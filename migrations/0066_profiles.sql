-- A person's own facts and picture, and what they complain about.

ALTER TABLE user_account
  ADD COLUMN other_names text NOT NULL DEFAULT '',
  ADD COLUMN gender text CHECK (gender IN ('FEMALE', 'MALE', 'UNSPECIFIED')),
  ADD COLUMN birth_date date,
  ADD COLUMN address text NOT NULL DEFAULT '',
  ADD COLUMN city text NOT NULL DEFAULT '',
  ADD COLUMN state text NOT NULL DEFAULT '',
  ADD COLUMN state_code text NOT NULL DEFAULT '',
  ADD COLUMN country text NOT NULL DEFAULT '',
  ADD COLUMN country_code text NOT NULL DEFAULT '',
  ADD COLUMN locale text NOT NULL DEFAULT 'en-NG',
  ADD COLUMN time_zone text NOT NULL DEFAULT 'Africa/Lagos',
  ADD COLUMN password_changed_at timestamptz,
  ADD COLUMN picture_id uuid,
  ADD CONSTRAINT user_picture FOREIGN KEY (merchant_id, picture_id) REFERENCES picture (merchant_id, picture_id);
CREATE INDEX user_picture_of ON user_account (merchant_id, picture_id) WHERE picture_id IS NOT NULL;

-- A picture is in use while a product, a category or a person shows it.
CREATE OR REPLACE FUNCTION end_picture_use(of_merchant uuid, of_picture uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM picture WHERE merchant_id = of_merchant AND picture_id = of_picture FOR UPDATE;
  UPDATE picture SET unused_since = now()
  WHERE merchant_id = of_merchant AND picture_id = of_picture
    AND NOT EXISTS (SELECT FROM product_picture p WHERE p.merchant_id = of_merchant AND p.picture_id = of_picture)
    AND NOT EXISTS (SELECT FROM category c WHERE c.merchant_id = of_merchant AND c.picture_id = of_picture)
    AND NOT EXISTS (SELECT FROM user_account u WHERE u.merchant_id = of_merchant AND u.picture_id = of_picture);
END $$;
CREATE TRIGGER note_use AFTER INSERT OR UPDATE OF picture_id OR DELETE ON user_account
  FOR EACH ROW EXECUTE FUNCTION note_picture_use();

CREATE FUNCTION end_other_sessions_of(wanted uuid, but_for bytea) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  ended integer;
BEGIN
  DELETE FROM session WHERE merchant_id = current_merchant() AND user_id = wanted AND token_hash <> but_for;
  GET DIAGNOSTICS ended = ROW_COUNT;
  RETURN ended;
END $$;

CREATE TABLE complaint (
  merchant_id uuid NOT NULL,
  complaint_id uuid NOT NULL,
  -- What people quote, from 1 for each merchant.
  number bigint NOT NULL,
  user_id uuid NOT NULL,
  store_id uuid NOT NULL,
  category text NOT NULL,
  severity text NOT NULL CHECK (severity IN ('LOW', 'NORMAL', 'HIGH', 'CRITICAL')),
  subject text NOT NULL,
  message text NOT NULL,
  reference text NOT NULL DEFAULT '',
  contact_email text NOT NULL DEFAULT '',
  contact_mobile text NOT NULL DEFAULT '',
  app_version text NOT NULL DEFAULT '',
  status text NOT NULL DEFAULT 'OPEN'
    CHECK (status IN ('OPEN', 'IN_PROGRESS', 'WAITING_FOR_USER', 'RESOLVED', 'CLOSED')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, complaint_id),
  UNIQUE (merchant_id, number),
  FOREIGN KEY (merchant_id, user_id) REFERENCES user_account (merchant_id, user_id),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id)
);
CREATE INDEX complaint_of_user ON complaint (merchant_id, user_id, complaint_id);
CALL protect_tenant('complaint');

-- Few, small and private: they lie with their ticket, not among the files that addresses lead to.
CREATE TABLE complaint_attachment (
  merchant_id uuid NOT NULL,
  complaint_id uuid NOT NULL,
  position smallint NOT NULL CHECK (position BETWEEN 1 AND 3),
  file_name text NOT NULL,
  content_type text NOT NULL,
  content bytea NOT NULL CHECK (length(content) <= 2097152),
  PRIMARY KEY (merchant_id, complaint_id, position),
  FOREIGN KEY (merchant_id, complaint_id) REFERENCES complaint (merchant_id, complaint_id)
);
CALL protect_tenant('complaint_attachment');
