-- Answers kept for repeats that tell of a person go when the person is erased, and the key stays used.

ALTER TABLE once ADD COLUMN person_id uuid;
CREATE INDEX once_person ON once (person_id) WHERE person_id IS NOT NULL;

CREATE FUNCTION name_once(wanted bytea, person uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$ UPDATE once SET person_id = person WHERE scope_hash = wanted $$;

CREATE FUNCTION forget_once(person uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$ UPDATE once SET sealed = '', fingerprint = '' WHERE person_id = person $$;
COMMENT ON FUNCTION forget_once IS 'What is left says that there was an answer: a late repeat does nothing again.';
