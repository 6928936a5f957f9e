-- The audit trail of one thing, newest first, with the store at which each entry was made, and by which user.

ALTER TABLE audit_entry ADD COLUMN store_id uuid, ADD COLUMN user_id uuid;

-- Beside the movements of a product, which have no order but their time.
CREATE INDEX audit_entry_trail ON audit_entry (merchant_id, subject_kind, subject_id, at, audit_id);
