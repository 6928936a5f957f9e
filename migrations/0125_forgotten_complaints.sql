-- Messages about a complaint go with the words of the complaint.

ALTER TABLE message
  ADD COLUMN complaint_id uuid,
  ADD CONSTRAINT message_complaint FOREIGN KEY (merchant_id, complaint_id)
    REFERENCES complaint (merchant_id, complaint_id);
CREATE INDEX message_of_complaint ON message (merchant_id, complaint_id) WHERE complaint_id IS NOT NULL;
