-- Schema version 2: misses in a row are one row, and a run may be started late on purpose. The tables and columns of
-- SQLite's version 2.

ALTER TABLE run
  ADD COLUMN delay_ms BIGINT NOT NULL DEFAULT 0 AFTER tail,
  ADD COLUMN caught_up BIGINT NOT NULL DEFAULT 0 AFTER delay_ms;

-- Every occurrence of the rule from from_at to to_at is missed, for this task, target and slot. `uncounted` is null
-- once the occurrences are counted, so that its index stays small.
CREATE TABLE span (
  seq         BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
  task        VARCHAR(64)  NOT NULL,
  target      VARCHAR(64)  NOT NULL,
  slot        BIGINT       NOT NULL,
  from_at     BIGINT       NOT NULL,
  to_at       BIGINT       NOT NULL,
  occurrences BIGINT,
  agent       VARCHAR(64),
  revision    BIGINT       NOT NULL,
  rule        MEDIUMTEXT   NOT NULL,
  timezone    VARCHAR(255) NOT NULL,
  reason      MEDIUMTEXT   NOT NULL,
  began_at    BIGINT       NOT NULL,
  closed_at   BIGINT       NOT NULL,
  uncounted   BIGINT GENERATED ALWAYS AS (IF(occurrences IS NULL, to_at, NULL)) VIRTUAL,
  UNIQUE KEY span_key (task, target, slot, from_at),
  KEY span_by_task (task, to_at),
  KEY span_by_time (to_at),
  KEY span_by_agent (agent, to_at),
  KEY span_uncounted (uncounted),
  FOREIGN KEY (task) REFERENCES task (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
