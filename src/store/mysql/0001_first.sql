-- Schema version 1: the tables and columns of SQLite's version 1. Times are milliseconds since 1970 (UTC), spans
-- milliseconds, flags 0 or 1; text compares as bytes. What MySQL needs beyond that is in generated columns and
-- in `seq`. Each statement ends with `;` at the end of a line: they are carried out one by one.

CREATE TABLE meta (
  name  VARCHAR(64) NOT NULL PRIMARY KEY,
  value MEDIUMTEXT  NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who has the lead. Every batch begins by updating its row. `expires_at` is on the database's clock.
CREATE TABLE lease (
  name       VARCHAR(64)  NOT NULL PRIMARY KEY,
  holder     VARCHAR(255) NOT NULL,
  epoch      BIGINT       NOT NULL,
  expires_at BIGINT       NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE fleet_group (
  gid        VARCHAR(64) NOT NULL PRIMARY KEY,
  run_users  MEDIUMTEXT,
  created_at BIGINT      NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- `live` is null when the row is removed, and a unique index lets any number of nulls pass.
CREATE TABLE task (
  id         VARCHAR(64) NOT NULL PRIMARY KEY,
  gid        VARCHAR(64) NOT NULL,
  task_name  VARCHAR(64) NOT NULL,
  rule       MEDIUMTEXT  NOT NULL,
  execute    MEDIUMTEXT  NOT NULL,
  shell      BIGINT      NOT NULL,
  run_user   VARCHAR(255) NOT NULL,
  timeout_ms BIGINT,
  processes  BIGINT      NOT NULL,
  enabled    BIGINT      NOT NULL,
  finishing  BIGINT      NOT NULL,
  revision   BIGINT      NOT NULL,
  spec       MEDIUMTEXT  NOT NULL,
  cursor_at  BIGINT,
  holder     VARCHAR(64),
  saved_at   BIGINT      NOT NULL,
  changed_by VARCHAR(64) NOT NULL,
  changed_at BIGINT      NOT NULL,
  removed_at BIGINT,
  live       TINYINT GENERATED ALWAYS AS (IF(removed_at IS NULL, 1, NULL)) VIRTUAL,
  UNIQUE KEY task_path (gid, task_name, live)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE agent (
  id            VARCHAR(64) NOT NULL PRIMARY KEY,
  name          VARCHAR(64) NOT NULL,
  draining      BIGINT      NOT NULL,
  drain_daemons BIGINT      NOT NULL,
  boot_id       VARCHAR(64),
  boot_seen_at  BIGINT,
  incarnation   BIGINT      NOT NULL,
  version       MEDIUMTEXT,
  last_seen_at  BIGINT,
  created_at    BIGINT      NOT NULL,
  removed_at    BIGINT,
  live          TINYINT GENERATED ALWAYS AS (IF(removed_at IS NULL, 1, NULL)) VIRTUAL,
  UNIQUE KEY agent_name (name, live)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE agent_group (
  agent VARCHAR(64) NOT NULL,
  gid   VARCHAR(64) NOT NULL,
  PRIMARY KEY (agent, gid),
  FOREIGN KEY (agent) REFERENCES agent (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE operator (
  id         VARCHAR(64) NOT NULL PRIMARY KEY,
  name       VARCHAR(64) NOT NULL,
  logged_in  BIGINT      NOT NULL,
  created_at BIGINT      NOT NULL,
  removed_at BIGINT,
  live       TINYINT GENERATED ALWAYS AS (IF(removed_at IS NULL, 1, NULL)) VIRTUAL,
  UNIQUE KEY operator_name (name, live)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE operator_role (
  operator VARCHAR(64) NOT NULL,
  gid      VARCHAR(64) NOT NULL,
  role     VARCHAR(64) NOT NULL,
  PRIMARY KEY (operator, gid),
  FOREIGN KEY (operator) REFERENCES operator (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE token (
  hash       VARCHAR(64) NOT NULL PRIMARY KEY,
  purpose    VARCHAR(64) NOT NULL,
  operator   VARCHAR(64),
  gids       MEDIUMTEXT,
  expires_at BIGINT      NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Two row writes a run: planned, ended. Run ids are hashes; `unsettled` holds those whose ending may still change,
-- so that the index for writing stays small, and the one for reading by an id's end is cut into hours.
CREATE TABLE run (
  seq          BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
  run_id       VARCHAR(64) NOT NULL,
  run_id_back  VARCHAR(8)  NOT NULL,
  task         VARCHAR(64) NOT NULL,
  revision     BIGINT      NOT NULL,
  target       VARCHAR(64) NOT NULL,
  agent        VARCHAR(64),
  slot         BIGINT      NOT NULL,
  cause        VARCHAR(64) NOT NULL,
  scheduled_at BIGINT      NOT NULL,
  start_before BIGINT      NOT NULL,
  outcome      VARCHAR(32),
  reason       MEDIUMTEXT,
  exit_code    BIGINT,
  exit_signal  BIGINT,
  pid          BIGINT,
  attempt      BIGINT,
  started_at   BIGINT,
  finished_at  BIGINT,
  output_bytes BIGINT,
  tail         MEDIUMTEXT,
  due_hour     BIGINT GENERATED ALWAYS AS (scheduled_at DIV 3600000) VIRTUAL,
  unsettled    VARCHAR(64) GENERATED ALWAYS AS (IF(outcome IS NULL OR outcome = 'lost', run_id, NULL)) VIRTUAL,
  UNIQUE KEY run_key (task, scheduled_at, target, slot, cause),
  KEY run_by_time (scheduled_at),
  KEY run_by_outcome (outcome, scheduled_at),
  KEY run_by_agent (agent, scheduled_at),
  KEY run_by_end (due_hour, run_id_back),
  UNIQUE KEY run_unsettled (unsettled),
  FOREIGN KEY (task) REFERENCES task (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE answer (
  request_id  VARCHAR(64) NOT NULL,
  operator    VARCHAR(64) NOT NULL,
  answer      MEDIUMTEXT  NOT NULL,
  answered_at BIGINT      NOT NULL,
  PRIMARY KEY (request_id, operator),
  KEY answer_by_time (answered_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE audit (
  seq         BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
  digest      VARCHAR(64) NOT NULL,
  at          BIGINT      NOT NULL,
  operator    VARCHAR(64) NOT NULL,
  address     MEDIUMTEXT  NOT NULL,
  deed        MEDIUMTEXT  NOT NULL,
  subject     MEDIUMTEXT  NOT NULL,
  gid         VARCHAR(64),
  before_json MEDIUMTEXT,
  after_json  MEDIUMTEXT,
  UNIQUE KEY audit_digest (digest),
  KEY audit_by_time (at),
  KEY audit_by_group (gid, at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
