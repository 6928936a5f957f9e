"""The control of a measurement: the same on a shop that is slow on purpose, whose figures must be over."""


def slow_rows(table: str, ms: int) -> str:
    """SQL after which PostgreSQL computes for so long for each row that is written into the table."""
    return f"""
        CREATE FUNCTION burn() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE until timestamptz := clock_timestamp() + interval '{ms} milliseconds';
        BEGIN
          WHILE clock_timestamp() < until LOOP END LOOP;
          RETURN NULL;
        END $$;
        CREATE TRIGGER burns AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION burn();
    """
