-- Sessions of the pages, which a browser holds as a cookie and no API takes.
ALTER TABLE session DROP CONSTRAINT session_kind_check;
-- NOT VALID: what is there keeps a narrower rule, and a long look at it would hold up every request.
ALTER TABLE session ADD CONSTRAINT session_kind_check CHECK (kind IN ('store', 'account', 'web')) NOT VALID;
