"""The control of a measurement: the same on a shop that is slow on purpose, whose figures must be over."""


def slow_rows(table: str, ms: int, *, when: str = "INSERT") -> str:
    """SQL after which PostgreSQL computes for so long for each row that is written into the table.

    With "UPDATE" each that is changed, also where a session has switched triggers off.
    """
    name = f"burn_{table}_{when.lower()}"
    always = f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name};" if when == "UPDATE" else ""
    return f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE until timestamptz := clock_timestamp() + interval '{ms} milliseconds';
        BEGIN
          WHILE clock_timestamp() < until LOOP END LOOP;
          RETURN NULL;
        END $$;
        CREATE TRIGGER {name} AFTER {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}();
        {always}
    """
