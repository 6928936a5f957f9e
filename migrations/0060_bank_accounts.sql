-- Bank accounts of stores, and the account that a user's wallet is paid out to.

-- The number is sealed; its keyed hash finds it again. What people may see of it stands in `last_digits`.
CREATE TABLE bank_account (
  merchant_id uuid NOT NULL,
  bank_account_id uuid NOT NULL,
  store_id uuid NOT NULL,
  bank_code text NOT NULL CHECK (bank_code ~ '^([0-9]{3}|[0-9]{5})$'),
  bank_name text NOT NULL,
  sealed_number bytea NOT NULL,
  number_mark bytea NOT NULL,
  last_digits text NOT NULL CHECK (last_digits ~ '^[0-9]{4}$'),
  holder_name text NOT NULL,
  account_type text NOT NULL CHECK (account_type IN ('savings', 'current', 'domiciliary', 'virtual')),
  active boolean NOT NULL,
  is_default boolean NOT NULL DEFAULT false,
  verified boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by uuid,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (merchant_id, bank_account_id),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id),
  CONSTRAINT bank_account_listed_once UNIQUE (merchant_id, store_id, bank_code, number_mark),
  CHECK (active OR NOT is_default)
);
CREATE UNIQUE INDEX bank_account_default ON bank_account (merchant_id, store_id) WHERE is_default;
CALL protect_tenant('bank_account');

CREATE TABLE wallet_bank (
  merchant_id uuid NOT NULL,
  user_id uuid NOT NULL,
  bank_account_id uuid NOT NULL,
  chosen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (merchant_id, user_id),
  FOREIGN KEY (merchant_id, user_id) REFERENCES user_account (merchant_id, user_id),
  CONSTRAINT wallet_bank_account FOREIGN KEY (merchant_id, bank_account_id)
    REFERENCES bank_account (merchant_id, bank_account_id)
);
CREATE INDEX wallet_bank_of_account ON wallet_bank (merchant_id, bank_account_id);
CALL protect_tenant('wallet_bank');

-- What a store's tokens of the other APIs may do; of the current merchant's stores alone.
CREATE FUNCTION tokens_of_store(wanted uuid)
RETURNS TABLE (scopes text[], created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT t.scopes, t.created_at FROM access_token t
  WHERE t.merchant_id = current_merchant() AND t.store_id = wanted AND t.revoked_at IS NULL
$$;
