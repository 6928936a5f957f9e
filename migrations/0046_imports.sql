-- Imports of products from files: how far each has come, and the rows that could not be taken.

CREATE TABLE import_run (
  merchant_id uuid NOT NULL REFERENCES merchant,
  import_id uuid NOT NULL,
  store_id uuid NOT NULL,
  file_name text NOT NULL,
  file_sha256 text NOT NULL,
  size_bytes bigint NOT NULL,
  options jsonb NOT NULL,
  status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'done', 'failed', 'cancelled')),
  -- Why it failed as a whole.
  reason text NOT NULL DEFAULT '',
  -- The last row of the file that has been dealt with, in the same transaction as its product.
  rows_done bigint NOT NULL DEFAULT 0,
  fraction double precision NOT NULL DEFAULT 0,
  created bigint NOT NULL DEFAULT 0,
  updated bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  failed bigint NOT NULL DEFAULT 0,
  failed_rows bigint NOT NULL DEFAULT 0,
  -- What was assumed about the file; its kinds of faults with some places of each; some of what it changes.
  notes jsonb NOT NULL DEFAULT '[]',
  faults jsonb NOT NULL DEFAULT '[]',
  changes jsonb NOT NULL DEFAULT '[]',
  header jsonb NOT NULL DEFAULT '[]',
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by uuid,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, import_id),
  FOREIGN KEY (merchant_id, store_id) REFERENCES store (merchant_id, store_id)
);
-- The same file for the same store goes on where it stopped, and runs once at a time.
CREATE UNIQUE INDEX import_run_unfinished ON import_run (merchant_id, store_id, file_sha256, md5(options::text))
  WHERE status = 'running';
CALL protect_tenant('import_run');

-- The rows that failed, one line of JSON each: many in one row of ours, since a file may be wrong from end to end.
CREATE TABLE import_failure (
  merchant_id uuid NOT NULL,
  import_id uuid NOT NULL,
  first_row bigint NOT NULL,
  lines text NOT NULL,
  PRIMARY KEY (merchant_id, import_id, first_row),
  FOREIGN KEY (merchant_id, import_id) REFERENCES import_run (merchant_id, import_id) ON DELETE CASCADE
);
CALL protect_tenant('import_failure');

-- The file of an import that a worker carries out, in parts; it goes when the import is done.
CREATE TABLE import_file (
  merchant_id uuid NOT NULL,
  import_id uuid NOT NULL,
  part integer NOT NULL,
  content bytea NOT NULL,
  PRIMARY KEY (merchant_id, import_id, part),
  FOREIGN KEY (merchant_id, import_id) REFERENCES import_run (merchant_id, import_id) ON DELETE CASCADE
);
CALL protect_tenant('import_file');
