-- Developer keys are the installation's or a store's, each with its scopes; and what concerns no merchant has a trail.

ALTER TABLE developer_key ADD COLUMN merchant_id uuid, ADD COLUMN store_id uuid, ADD COLUMN scopes text[] NOT NULL,
  ADD CHECK ((merchant_id IS NULL) = (store_id IS NULL));
CREATE INDEX developer_key_store ON developer_key (merchant_id, store_id);

CREATE FUNCTION add_developer_key(new_hash bytea, new_id uuid, at_store uuid, new_name text, new_scopes text[])
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  INSERT INTO developer_key (key_hash, key_id, merchant_id, store_id, name, scopes)
  VALUES (new_hash, new_id, current_merchant(), at_store, new_name, new_scopes)
$$;

CREATE FUNCTION resolve_developer_key(wanted bytea) RETURNS TABLE (key_id uuid, merchant_id uuid, scopes text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT k.key_id, k.merchant_id, k.scopes FROM developer_key k
  WHERE k.key_hash = wanted AND (k.revoked_at IS NULL OR k.revoked_at > now())
    AND (k.merchant_id IS NULL OR EXISTS (
      SELECT FROM store s JOIN merchant m ON m.merchant_id = s.merchant_id
      WHERE s.merchant_id = k.merchant_id AND s.store_id = k.store_id AND s.status = 'active' AND m.status = 'active'))
$$;
COMMENT ON FUNCTION resolve_developer_key IS 'A key that works; merchant_id is null for one of the installation.';

CREATE FUNCTION keys_of(at_store uuid)
RETURNS TABLE (key_id uuid, name text, scopes text[], created_at timestamptz, ends_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  SELECT k.key_id, k.name, k.scopes, k.created_at, k.revoked_at FROM developer_key k
  WHERE k.merchant_id IS NOT DISTINCT FROM current_merchant() AND k.store_id IS NOT DISTINCT FROM at_store
    AND (k.revoked_at IS NULL OR k.revoked_at > now())
$$;
COMMENT ON FUNCTION keys_of IS 'Those that work: of one store of the current merchant, or without either of the installation.';

CREATE FUNCTION retire_developer_key(wanted uuid, after interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE developer_key SET revoked_at = now() + after
  WHERE key_id = wanted AND merchant_id IS NOT DISTINCT FROM current_merchant() AND revoked_at IS NULL;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION retire_developer_key IS 'False for one that ends already: it is retired once.';

CREATE FUNCTION revoke_developer_key(wanted uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE developer_key SET revoked_at = now()
  WHERE key_id = wanted AND merchant_id IS NOT DISTINCT FROM current_merchant()
    AND (revoked_at IS NULL OR revoked_at > now());
  RETURN FOUND;
END $$;

-- The trail of the installation -----------------------------------------------------------------

INSERT INTO directory_table (name, reason) VALUES
  ('installation_entry', 'the audit trail of what concerns no merchant');

CREATE TABLE installation_entry (
  audit_id uuid PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  actor_kind text NOT NULL,
  actor_id text NOT NULL,
  action text NOT NULL,
  subject_kind text NOT NULL,
  subject_id text NOT NULL,
  after json
);
REVOKE ALL ON installation_entry FROM PUBLIC, kasuwa_app;

CREATE FUNCTION refuse_any_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON installation_entry
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_any_change();

CREATE FUNCTION note_installation(
  new_id uuid, of_kind text, of_id text, did text, to_kind text, to_id text, after json
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  INSERT INTO installation_entry (audit_id, actor_kind, actor_id, action, subject_kind, subject_id, after)
  VALUES (new_id, of_kind, of_id, did, to_kind, to_id, after)
$$;
