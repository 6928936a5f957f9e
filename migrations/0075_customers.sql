-- Who buys: one row for each person of a merchant, whichever of its stores they came to first.

CREATE TABLE customer (
  merchant_id uuid NOT NULL,
  customer_id uuid NOT NULL,
  -- Where the person was registered.
  store_id uuid NOT NULL,
  username text NOT NULL,
  email text NOT NULL DEFAULT '',
  mobile text NOT NULL DEFAULT '',
  first_name text NOT NULL,
  last_name text NOT NULL DEFAULT '',
  -- The names folded, given name first and family name first: both are looked for by their beginning.
  name_key text COLLATE "C" NOT NULL,
  surname_key text COLLATE "C" NOT NULL,
  -- House and street as one line.
  street text NOT NULL DEFAULT '',
  lga text NOT NULL DEFAULT '',
  lga_code text NOT NULL DEFAULT '',
  state text NOT NULL DEFAULT '',
  state_code text NOT NULL DEFAULT '',
  country text NOT NULL DEFAULT '',
  country_code text NOT NULL DEFAULT '',
  zip_code text NOT NULL DEFAULT '',
  birth_day smallint CHECK (birth_day BETWEEN 1 AND 31),
  birth_month smallint CHECK (birth_month BETWEEN 1 AND 12),
  birth_year smallint CHECK (birth_year BETWEEN 1900 AND 2100),
  -- '' for whoever has not chosen a password yet: no password is right then.
  password_hash text NOT NULL DEFAULT '',
  password_changed_at timestamptz,
  email_verified_at timestamptz,
  mobile_verified_at timestamptz,
  last_login_at timestamptz,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'erased')),
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by uuid,
  updated_at timestamptz NOT NULL DEFAULT now(),
  erased_at timestamptz,
  PRIMARY KEY (merchant_id, customer_id),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id),
  CHECK ((status = 'erased') = (erased_at IS NOT NULL)),
  -- What is left of an erased person names nobody: other rows may go on referring to it.
  CONSTRAINT customer_erased_whole CHECK (status <> 'erased' OR (
    concat(username, email, mobile, first_name, last_name, name_key, surname_key, street, lga, lga_code, state,
           state_code, country, country_code, zip_code, password_hash) = ''
    AND num_nonnulls(birth_day, birth_month, birth_year, password_changed_at, email_verified_at,
                     mobile_verified_at, last_login_at) = 0))
);
CREATE INDEX customer_by_name ON customer (merchant_id, name_key, customer_id) WHERE status <> 'erased';
CREATE INDEX customer_by_surname ON customer (merchant_id, surname_key, customer_id) WHERE status <> 'erased';
CALL protect_tenant('customer');

-- What a customer is found by and logs in with: user name, e-mail and mobile. Any number of people may say that an
-- address is theirs, until one of them proves it.
CREATE TABLE customer_name (
  merchant_id uuid NOT NULL,
  name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('username', 'email', 'mobile')),
  customer_id uuid NOT NULL,
  -- One person's alone: a user name from the first moment, an address once it is proved.
  is_sure boolean NOT NULL DEFAULT false,
  PRIMARY KEY (merchant_id, name, customer_id),
  CHECK (is_sure OR kind <> 'username'),
  FOREIGN KEY (merchant_id, customer_id) REFERENCES customer (merchant_id, customer_id)
);
CREATE UNIQUE INDEX customer_name_taken ON customer_name (merchant_id, name) WHERE is_sure;
CREATE INDEX customer_name_of ON customer_name (merchant_id, customer_id);
CALL protect_tenant('customer_name');

-- Each answer a customer gave, in their order: the newest of a purpose holds, the others prove what held before.
CREATE TABLE customer_consent (
  merchant_id uuid NOT NULL,
  consent_id uuid NOT NULL,
  customer_id uuid NOT NULL,
  purpose text NOT NULL,
  is_given boolean NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  store_id uuid NOT NULL,
  -- Who wrote it down; empty when it was the customer.
  noted_by uuid,
  -- How the customer said so, such as a signed form.
  evidence text NOT NULL DEFAULT '',
  PRIMARY KEY (merchant_id, consent_id),
  FOREIGN KEY (merchant_id, customer_id) REFERENCES customer (merchant_id, customer_id),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id)
);
CREATE INDEX customer_consent_of ON customer_consent (merchant_id, customer_id, purpose, consent_id);
CALL protect_tenant('customer_consent');

-- Whom a message tells of: an erased person's go with them.
ALTER TABLE message
  ADD COLUMN customer_id uuid,
  ADD CONSTRAINT message_customer FOREIGN KEY (merchant_id, customer_id)
    REFERENCES customer (merchant_id, customer_id);
CREATE INDEX message_of_customer ON message (merchant_id, customer_id) WHERE customer_id IS NOT NULL;
