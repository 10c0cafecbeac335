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
CREATE TABLE IF NOT EXISTS schema_migration (
  version    BIGINT      NOT NULL PRIMARY KEY,
  checksum   VARCHAR(64) NOT NULL,
  steps      BIGINT      NOT NULL,
  applied_at BIGINT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO schema_migration VALUES (1, '8c94df5f20d38e720bcf69aad951d41f16739ca356eef0d2649fd8c0d912c305', 0, NULL);
UPDATE schema_migration SET steps = 12, applied_at = 0 WHERE version = 1;
INSERT INTO fleet_group (gid, run_users, created_at) VALUES ('Web', '["www-data","x y"]', '1799996400000');
INSERT INTO fleet_group (gid, run_users, created_at) VALUES ('web', NULL, '1799996400000');
INSERT INTO task (id, gid, task_name, rule, execute, shell, run_user, timeout_ms, processes, enabled, finishing, revision, spec, cursor_at, holder, saved_at, changed_by, changed_at, removed_at) VALUES ('01hz0000000000000000000001', 'web', 'dump', '*/5 3 * * *', '[ -f /x ] && echo \'ü%\'', '1', 'www-data', '1500', '3', '0', '1', '4', '{"catch_up":true,"jitter_ms":250,"misfire_grace_ms":61000,"note":"nightly","target":["a1"],"timezone":"Europe/Berlin","work":{"backoff":{"first_ms":10,"longest_ms":7000},"cwd":"/tmp","daemon":true,"env":{"A":"b\\nc"},"env_file":"/etc/env","grace_ms":1000,"limits":[{"kind":"nofile","value":4096}],"nice":5,"output":"tail","overlap":"queue","parole":"never","restart":"on-failure","retries":2,"start_retries":5,"start_seconds_ms":2000,"stop_signal":"KILL","success_codes":[0,3],"umask":23}}', '1500', NULL, '11', 'admin', '12', NULL);
INSERT INTO task (id, gid, task_name, rule, execute, shell, run_user, timeout_ms, processes, enabled, finishing, revision, spec, cursor_at, holder, saved_at, changed_by, changed_at, removed_at) VALUES ('01hz0000000000000000000002', 'Web', 'dump', '0 0 * * *', '["echo","a \\"b\\""]', '0', 'root', NULL, '1', '1', '0', '4', '{"catch_up":false,"jitter_ms":0,"misfire_grace_ms":3600000,"note":null,"target":"all","timezone":null,"work":{"backoff":{"first_ms":1000,"longest_ms":60000},"cwd":null,"daemon":false,"env":{},"env_file":null,"grace_ms":10000,"limits":[],"nice":0,"output":"none","overlap":"skip","parole":{"after_ms":600000},"restart":"always","retries":0,"start_retries":3,"start_seconds_ms":1000,"stop_signal":"TERM","success_codes":[0],"umask":18}}', NULL, NULL, '11', 'admin', '12', NULL);
INSERT INTO agent (id, name, draining, drain_daemons, boot_id, boot_seen_at, incarnation, version, last_seen_at, created_at, removed_at) VALUES ('01hz0000000000000000000001', 'a1', '1', '1', 'd2f1-77', '7', '9', '0.1.0', '8', '6', NULL);
INSERT INTO agent (id, name, draining, drain_daemons, boot_id, boot_seen_at, incarnation, version, last_seen_at, created_at, removed_at) VALUES ('01hz0000000000000000000002', 'A1', '0', '0', NULL, NULL, '9', NULL, NULL, '6', NULL);
INSERT INTO agent_group (agent, gid) VALUES ('01hz0000000000000000000001', 'Web');
INSERT INTO agent_group (agent, gid) VALUES ('01hz0000000000000000000001', 'web');
INSERT INTO operator (id, name, logged_in, created_at, removed_at) VALUES ('01hz0000000000000000000001', 'admin', '1', '5', NULL);
INSERT INTO operator_role (operator, gid, role) VALUES ('01hz0000000000000000000001', '', 'viewer');
INSERT INTO operator_role (operator, gid, role) VALUES ('01hz0000000000000000000001', 'web', 'admin');
INSERT INTO token (hash, purpose, operator, gids, expires_at) VALUES ('aa11', 'agent', NULL, '["web"]', '30');
INSERT INTO run (run_id, run_id_back, task, revision, target, agent, slot, cause, scheduled_at, start_before, outcome, reason, exit_code, exit_signal, pid, attempt, started_at, finished_at, output_bytes, tail) VALUES ('00p55h074jgay6h7yetvenhjyw', 'wyjhnevt', '01hz0000000000000000000002', '5', '', '01hz0000000000000000000002', '2', 'rule', '3000', '63000', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO run (run_id, run_id_back, task, revision, target, agent, slot, cause, scheduled_at, start_before, outcome, reason, exit_code, exit_signal, pid, attempt, started_at, finished_at, output_bytes, tail) VALUES ('14cz2bc8ynt4fsp9yt37gcenwm', 'mwnecg73', '01hz0000000000000000000001', '4', '01hz0000000000000000000001', '01hz0000000000000000000001', '2', 'daemon', '4000', '64000', 'stopped', 'exit code 3', '3', '15', '4711', '2', '20', '21', '1099511627776', 'line\0
');
INSERT INTO run (run_id, run_id_back, task, revision, target, agent, slot, cause, scheduled_at, start_before, outcome, reason, exit_code, exit_signal, pid, attempt, started_at, finished_at, output_bytes, tail) VALUES ('3x2yytqdr0nanpqxpx6tfkyc0j', 'j0cykft6', '01hz0000000000000000000001', '4', '01hz0000000000000000000001', '01hz0000000000000000000001', '2', 'rule', '1000', '61000', 'failed', 'exit code 3', '3', '15', '4711', '2', '20', '21', '1099511627776', 'line\0
');
INSERT INTO run (run_id, run_id_back, task, revision, target, agent, slot, cause, scheduled_at, start_before, outcome, reason, exit_code, exit_signal, pid, attempt, started_at, finished_at, output_bytes, tail) VALUES ('4xq90trfmsm2j0hqdmekaf5pfd', 'dfp5fake', '01hz0000000000000000000001', '4', '01hz0000000000000000000001', '01hz0000000000000000000001', '2', 'rule', '2000', '62000', 'succeeded', 'exit code 3', '3', '15', '4711', '2', '20', '21', '1099511627776', 'line\0
');
INSERT INTO answer (request_id, operator, answer, answered_at) VALUES ('r1', '01hz0000000000000000000001', '{"ok":true}', '1800000000000');
INSERT INTO audit (seq, digest, at, operator, address, deed, subject, gid, before_json, after_json) VALUES ('1', 'b9ab3b0d620bf74f686e497f53cb963eaa1212ff63db81d4037e9aace6d47c44', '1', 'admin', '10.0.0.1:55', 'task edit', 'web/dump', 'web', '{}', NULL);
