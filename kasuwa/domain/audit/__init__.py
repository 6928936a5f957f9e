"""Reading the audit trail; it is written by `kasuwa.base.audit`."""
