-- Messages that can be seen: to whom (masked), how often they were tried, and what came of it.

ALTER TABLE message
  ADD COLUMN masked_to text NOT NULL DEFAULT '',
  -- Where whoever caused it was at work; null where nobody was.
  ADD COLUMN store_id uuid,
  ADD COLUMN has_code boolean NOT NULL DEFAULT false,
  -- After this its words are of no use: its code has run out.
  ADD COLUMN expires_at timestamptz,
  ADD COLUMN attempts integer NOT NULL DEFAULT 0,
  -- Those since it was queued, or queued again.
  ADD COLUMN tries integer NOT NULL DEFAULT 0,
  ADD COLUMN tried_at timestamptz,
  -- Until then one process alone may send it.
  ADD COLUMN held_until timestamptz,
  ADD COLUMN failed_at timestamptz;
CREATE INDEX message_status ON message (merchant_id, status, message_id);

-- The language a shop, or one of its people, reads its messages in. The shop's own row has the empty user.
CREATE TABLE message_language (
  merchant_id uuid NOT NULL REFERENCES merchant,
  user_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  language text NOT NULL CHECK (language ~ '^[a-z]{2,3}$'),
  PRIMARY KEY (merchant_id, user_id)
);
CALL protect_tenant('message_language');

CREATE FUNCTION forget_messages(keep interval) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
  UPDATE message SET sealed = NULL
  WHERE sealed IS NOT NULL AND status = 'failed' AND coalesce(expires_at, failed_at + interval '30 days') < now();
  DELETE FROM message WHERE status <> 'queued' AND created_at < now() - keep;
$$;
COMMENT ON FUNCTION forget_messages IS
  'Over all merchants: the words of what failed go when their code has run out, or after 30 days; the rest after keep.';
