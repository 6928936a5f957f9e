-- Tenants, the directory, and what every later table builds on.
-- Two kinds of tables: a tenant's table begins its keys with merchant_id and is protected by
-- protect_tenant(); a directory table is listed in directory_table and is reached by the
-- application through functions alone, each of which answers for one exact key.

CREATE FUNCTION current_merchant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT nullif(current_setting('app.merchant_id', true), '')::uuid $$;

CREATE PROCEDURE protect_tenant(tenant_table regclass)
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tenant_table);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', tenant_table);
  EXECUTE format(
    'CREATE POLICY tenant ON %s TO kasuwa_app
       USING (merchant_id = nullif(current_setting(''app.merchant_id'', true), '''')::uuid)
       WITH CHECK (merchant_id = nullif(current_setting(''app.merchant_id'', true), '''')::uuid)', tenant_table);
  -- Without this a forced policy would make the owner's own backfills change no row, silently.
  EXECUTE format('CREATE POLICY owner ON %s TO kasuwa_owner USING (true) WITH CHECK (true)', tenant_table);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO kasuwa_app', tenant_table);
END $$;

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE PROCEDURE make_append_only(tenant_table regclass)
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %s
                  FOR EACH ROW EXECUTE FUNCTION refuse_change()', tenant_table);
  EXECUTE format('CREATE TRIGGER append_only_all BEFORE TRUNCATE ON %s
                  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', tenant_table);
  EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %s FROM kasuwa_app', tenant_table);
END $$;

CREATE TABLE directory_table (
  name text PRIMARY KEY,
  reason text NOT NULL
);
INSERT INTO directory_table (name, reason) VALUES
  ('directory_table', 'the list itself'),
  ('schema_migration', 'which migrations ran, for the whole database'),
  ('login_name', 'a log-in name finds its merchant and user'),
  ('account_directory', 'a user id finds its merchant before anybody is logged in'),
  ('store_directory', 'a store id, store hash or shop name finds its merchant'),
  ('session', 'the hash of a session token finds merchant, user and store'),
  ('access_token', 'the hash of an API token finds merchant and store'),
  ('developer_key', 'the hash of a developer key proves an app'),
  ('one_time_link', 'the hash of a link''s token finds merchant and user'),
  ('once', 'answers kept for repeats of a request'),
  ('job', 'the queue, over all merchants'),
  ('rate_bucket', 'what is left of each quota');

-- Tenants -------------------------------------------------------------------------------------

CREATE TABLE merchant (
  merchant_id uuid PRIMARY KEY,
  business_name text NOT NULL,
  country_code text NOT NULL,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  tax_rate numeric(9, 6) NOT NULL DEFAULT 0,
  vat_type text NOT NULL DEFAULT 'exclusive' CHECK (vat_type IN ('inclusive', 'exclusive')),
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  created_at timestamptz NOT NULL DEFAULT now()
);
CALL protect_tenant('merchant');

-- Rising numbers and counts of a merchant: numbers for APIs that want integers, totals for lists. A number has one
-- part; a total lies in as many as there were writers at once, and is their sum.
CREATE TABLE merchant_counter (
  merchant_id uuid NOT NULL REFERENCES merchant,
  name text NOT NULL,
  part integer NOT NULL DEFAULT 0,
  value bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (merchant_id, name, part)
);
CALL protect_tenant('merchant_counter');

CREATE FUNCTION take_numbers(counter text, how_many bigint DEFAULT 1) RETURNS bigint
LANGUAGE sql AS $$
  INSERT INTO merchant_counter AS c (merchant_id, name, value)
  VALUES (current_merchant(), counter, how_many)
  ON CONFLICT (merchant_id, name, part) DO UPDATE SET value = c.value + excluded.value
  RETURNING value - how_many + 1
$$;
COMMENT ON FUNCTION take_numbers IS 'The first of how_many new numbers of the current merchant.';

-- Who adds holds a part until the transaction ends, and takes one that nobody holds: nobody waits for another's.
CREATE FUNCTION add_to_total(of_merchant uuid, total text, how_many bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  free integer;
BEGIN
  -- A statement of its own: within the UPDATE it could be asked once for each part.
  SELECT c.part INTO free FROM merchant_counter c
  WHERE c.merchant_id = of_merchant AND c.name = total
  ORDER BY c.part LIMIT 1 FOR UPDATE SKIP LOCKED;
  UPDATE merchant_counter c SET value = c.value + how_many
  WHERE c.merchant_id = of_merchant AND c.name = total AND c.part = free;
  IF NOT FOUND THEN
    INSERT INTO merchant_counter AS c (merchant_id, name, part, value)
    VALUES (of_merchant, total, floor(random() * 2147483647)::integer, how_many)
    ON CONFLICT (merchant_id, name, part) DO UPDATE SET value = c.value + excluded.value;
  END IF;
END $$;
COMMENT ON FUNCTION add_to_total IS 'Add to a total that is kept in parts, without waiting for others who do.';

CREATE TABLE store (
  merchant_id uuid NOT NULL REFERENCES merchant,
  store_id uuid NOT NULL,
  name text NOT NULL,
  site_name text NOT NULL,
  store_hash text NOT NULL,
  country text NOT NULL DEFAULT '',
  country_code text NOT NULL,
  state text NOT NULL DEFAULT '',
  state_code text NOT NULL DEFAULT '',
  city text NOT NULL DEFAULT '',
  city_code text NOT NULL DEFAULT '',
  address text NOT NULL DEFAULT '',
  latitude text NOT NULL DEFAULT '',
  longitude text NOT NULL DEFAULT '',
  email text NOT NULL DEFAULT '',
  mobile text NOT NULL DEFAULT '',
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  tax_rate numeric(9, 6) NOT NULL DEFAULT 0 CHECK (tax_rate BETWEEN 0 AND 100),
  vat_type text NOT NULL DEFAULT 'exclusive' CHECK (vat_type IN ('inclusive', 'exclusive')),
  profile_type text NOT NULL DEFAULT '',
  seats integer NOT NULL DEFAULT 5 CHECK (seats > 0),
  license_plan text NOT NULL DEFAULT 'community',
  time_zone text NOT NULL DEFAULT 'Africa/Lagos',
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled', 'closed')),
  settings jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, store_id)
);
CALL protect_tenant('store');

CREATE TABLE user_account (
  merchant_id uuid NOT NULL REFERENCES merchant,
  user_id uuid NOT NULL,
  username text NOT NULL,
  email text NOT NULL,
  mobile text NOT NULL,
  first_name text NOT NULL,
  last_name text NOT NULL,
  password_hash text NOT NULL,
  email_verified_at timestamptz,
  mobile_verified_at timestamptz,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'suspended')),
  default_store_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, user_id),
  FOREIGN KEY (merchant_id, default_store_id) REFERENCES store (merchant_id, store_id)
);
CALL protect_tenant('user_account');

CREATE TABLE membership (
  merchant_id uuid NOT NULL,
  user_id uuid NOT NULL,
  store_id uuid NOT NULL,
  role text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  -- Beyond what the role brings, at this location.
  extra_permissions text[] NOT NULL DEFAULT '{}',
  PRIMARY KEY (merchant_id, user_id, store_id),
  FOREIGN KEY (merchant_id, user_id) REFERENCES user_account (merchant_id, user_id),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id)
);
CALL protect_tenant('membership');

CREATE TABLE verification_code (
  merchant_id uuid NOT NULL REFERENCES merchant,
  -- A user or a customer: an id is never of both.
  holder_id uuid NOT NULL,
  purpose text NOT NULL CHECK (purpose IN ('email', 'mobile', 'reset')),
  channel text NOT NULL CHECK (channel IN ('email', 'mobile')),
  code_hash bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  tries_left smallint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, holder_id, purpose)
);
CALL protect_tenant('verification_code');

-- The words of a message are sealed: they may carry a code.
CREATE TABLE message (
  merchant_id uuid NOT NULL REFERENCES merchant,
  message_id uuid NOT NULL,
  channel text NOT NULL CHECK (channel IN ('email', 'sms')),
  template text NOT NULL,
  sealed bytea,
  status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'sent', 'failed')),
  last_error text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  sent_at timestamptz,
  PRIMARY KEY (merchant_id, message_id)
);
CALL protect_tenant('message');

CREATE TABLE audit_entry (
  merchant_id uuid NOT NULL REFERENCES merchant,
  audit_id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  actor_kind text NOT NULL,
  actor_id text NOT NULL,
  action text NOT NULL,
  subject_kind text NOT NULL,
  subject_id text NOT NULL,
  -- Kept as they were written: nobody looks for what is in them, and taking them apart is half of an entry's cost.
  before json,
  after json,
  request_id text NOT NULL,
  PRIMARY KEY (merchant_id, audit_id)
);
CREATE INDEX audit_entry_subject ON audit_entry (merchant_id, subject_id, subject_kind, audit_id);
CREATE INDEX audit_entry_action ON audit_entry (merchant_id, action, audit_id);
CALL protect_tenant('audit_entry');
CALL make_append_only('audit_entry');

-- Directory -----------------------------------------------------------------------------------

CREATE TABLE login_name (
  name text PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('username', 'email', 'mobile')),
  merchant_id uuid NOT NULL,
  user_id uuid NOT NULL
);
CREATE INDEX login_name_user ON login_name (merchant_id, user_id);

CREATE TABLE account_directory (
  user_id uuid PRIMARY KEY,
  merchant_id uuid NOT NULL
);

CREATE TABLE store_directory (
  store_id uuid PRIMARY KEY,
  store_hash text NOT NULL UNIQUE,
  shop text NOT NULL UNIQUE,
  merchant_id uuid NOT NULL
);

CREATE TABLE session (
  token_hash bytea PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('store', 'account')),
  merchant_id uuid NOT NULL,
  user_id uuid NOT NULL,
  store_id uuid NOT NULL,
  platform text NOT NULL DEFAULT '',
  original_store_id uuid NOT NULL,
  replaces bytea,
  idle_after interval NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX session_of_user ON session (merchant_id, user_id);
CREATE INDEX session_expires ON session (expires_at);
CREATE INDEX session_replaces ON session (replaces) WHERE replaces IS NOT NULL;

CREATE TABLE access_token (
  token_hash bytea PRIMARY KEY,
  token_id uuid NOT NULL UNIQUE,
  merchant_id uuid NOT NULL,
  store_id uuid NOT NULL,
  name text NOT NULL,
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz
);
CREATE INDEX access_token_store ON access_token (merchant_id, store_id);

CREATE TABLE developer_key (
  key_hash bytea PRIMARY KEY,
  key_id uuid NOT NULL UNIQUE,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz
);

CREATE TABLE one_time_link (
  token_hash bytea PRIMARY KEY,
  purpose text NOT NULL,
  merchant_id uuid NOT NULL,
  user_id uuid NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz
);

-- Answers kept for repeats: the body is sealed with a key made from the caller's own key.
CREATE TABLE once (
  scope_hash bytea PRIMARY KEY,
  fingerprint bytea NOT NULL,
  sealed bytea,
  expires_at timestamptz NOT NULL
);
CREATE INDEX once_expires ON once (expires_at);

CREATE TABLE job (
  job_id uuid PRIMARY KEY,
  merchant_id uuid,
  kind text NOT NULL,
  payload jsonb NOT NULL,
  status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'failed')),
  run_at timestamptz NOT NULL DEFAULT now(),
  leased_until timestamptz,
  attempts integer NOT NULL DEFAULT 0,
  last_error text NOT NULL DEFAULT '',
  unique_key text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX job_next ON job (run_at) WHERE status = 'waiting';
-- A job that has begun may have seen too little: what comes after it needs one of its own.
CREATE UNIQUE INDEX job_unique ON job (unique_key) WHERE status = 'waiting' AND attempts = 0;

CREATE UNLOGGED TABLE rate_bucket (
  bucket bytea PRIMARY KEY,
  level double precision NOT NULL,
  since timestamptz NOT NULL
);

REVOKE ALL ON directory_table, login_name, account_directory, store_directory, session, access_token,
  developer_key, one_time_link, once, job, rate_bucket FROM PUBLIC, kasuwa_app;
