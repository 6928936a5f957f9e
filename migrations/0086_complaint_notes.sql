-- What becomes of complaints: who changed their status, when, and why.

CREATE TABLE complaint_note (
  merchant_id uuid NOT NULL,
  note_id uuid NOT NULL,
  complaint_id uuid NOT NULL,
  status text NOT NULL CHECK (status IN ('OPEN', 'IN_PROGRESS', 'WAITING_FOR_USER', 'RESOLVED', 'CLOSED')),
  note text NOT NULL DEFAULT '',
  user_id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, note_id),
  FOREIGN KEY (merchant_id, complaint_id) REFERENCES complaint (merchant_id, complaint_id),
  FOREIGN KEY (merchant_id, user_id) REFERENCES user_account (merchant_id, user_id)
);
CREATE INDEX complaint_note_of ON complaint_note (merchant_id, complaint_id, note_id);
CALL protect_tenant('complaint_note');

CREATE INDEX complaint_of_store ON complaint (merchant_id, store_id, complaint_id);
CREATE INDEX complaint_by_status ON complaint (merchant_id, store_id, status, complaint_id);
