-- A second factor of a user, which log-in asks for once a first code was right.

CREATE TABLE second_factor (
  merchant_id uuid NOT NULL,
  user_id uuid NOT NULL,
  sealed_secret bytea NOT NULL,
  -- The last step of 30 seconds whose code was used: it and earlier ones are refused.
  last_step bigint NOT NULL DEFAULT 0,
  confirmed_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, user_id),
  FOREIGN KEY (merchant_id, user_id) REFERENCES user_account (merchant_id, user_id)
);
CALL protect_tenant('second_factor');

CREATE TABLE recovery_code (
  merchant_id uuid NOT NULL,
  user_id uuid NOT NULL,
  -- A keyed hash; the code itself is shown once.
  code_mark bytea NOT NULL,
  used_at timestamptz,
  PRIMARY KEY (merchant_id, user_id, code_mark),
  FOREIGN KEY (merchant_id, user_id) REFERENCES second_factor (merchant_id, user_id) ON DELETE CASCADE
);
CALL protect_tenant('recovery_code');
