-- Imports that callers start and watch: of products, and of pictures from a zip.

ALTER TABLE import_run
  ADD COLUMN kind text NOT NULL DEFAULT 'products' CHECK (kind IN ('products', 'pictures')),
  -- When somebody first began with it: until then it waits in the queue. And when it ended, however it did.
  ADD COLUMN started_at timestamptz,
  ADD COLUMN ended_at timestamptz;
UPDATE import_run SET started_at = created_at, ended_at = CASE WHEN status <> 'running' THEN updated_at END;

-- One file may be meant as a table and as an archive of pictures.
DROP INDEX import_run_unfinished;
CREATE UNIQUE INDEX import_run_unfinished
  ON import_run (merchant_id, store_id, kind, file_sha256, md5(options::text)) WHERE status = 'running';
-- A store's imports, the newest first.
CREATE INDEX import_run_of_store ON import_run (merchant_id, store_id, import_id);
