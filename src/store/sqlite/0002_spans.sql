-- Schema version 2: misses in a row are one row, and a run may be started late on purpose.

ALTER TABLE run ADD COLUMN delay_ms INTEGER NOT NULL DEFAULT 0;  -- start asked for less scheduled_at: jitter
ALTER TABLE run ADD COLUMN caught_up INTEGER NOT NULL DEFAULT 0; -- started late because its task catches up

-- Every occurrence of the rule from from_at to to_at is missed, for this task, target and slot.
CREATE TABLE span (
  task        TEXT    NOT NULL REFERENCES task (id),
  target      TEXT    NOT NULL, -- as in run
  slot        INTEGER NOT NULL,
  from_at     INTEGER NOT NULL, -- the first occurrence
  to_at       INTEGER NOT NULL, -- the last; until they are counted the end of the time that is told
  occurrences INTEGER,          -- null until they are counted
  agent       TEXT,
  revision    INTEGER NOT NULL,
  rule        TEXT    NOT NULL, -- as it was then
  timezone    TEXT    NOT NULL,
  reason      TEXT    NOT NULL,
  began_at    INTEGER NOT NULL, -- when the first miss was written
  closed_at   INTEGER NOT NULL, -- when the last was
  PRIMARY KEY (task, target, slot, from_at)
) STRICT;
CREATE INDEX span_by_task ON span (task, to_at);
CREATE INDEX span_by_time ON span (to_at);
CREATE INDEX span_by_agent ON span (agent, to_at);
CREATE INDEX span_uncounted ON span (to_at) WHERE occurrences IS NULL;
