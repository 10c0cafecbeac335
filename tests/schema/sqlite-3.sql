CREATE TABLE schema_migration (
  version    INTEGER NOT NULL PRIMARY KEY,
  checksum   TEXT    NOT NULL,
  applied_at INTEGER NOT NULL
) STRICT;
CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;
CREATE TABLE lease (
  name       TEXT    NOT NULL PRIMARY KEY,
  holder     TEXT    NOT NULL,
  epoch      INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE TABLE fleet_group (
  gid        TEXT    NOT NULL PRIMARY KEY,
  run_users  TEXT,               -- JSON array; any account where null
  created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE task (
  id         TEXT    NOT NULL PRIMARY KEY,
  gid        TEXT    NOT NULL,
  task_name  TEXT    NOT NULL,
  rule       TEXT    NOT NULL,
  execute    TEXT    NOT NULL,   -- the line where shell is 1, else the vector as a JSON array
  shell      INTEGER NOT NULL,
  run_user   TEXT    NOT NULL,
  timeout_ms INTEGER,
  processes  INTEGER NOT NULL,
  enabled    INTEGER NOT NULL,
  finishing  INTEGER NOT NULL,   -- stopped, yet what runs may come to its end
  revision   INTEGER NOT NULL,
  spec       TEXT    NOT NULL,   -- JSON: every policy that has no column
  cursor_at  INTEGER,            -- planned up to here
  holder     TEXT,               -- the agent that a daemon of target one was given to
  saved_at   INTEGER NOT NULL,
  changed_by TEXT    NOT NULL,
  changed_at INTEGER NOT NULL,
  removed_at INTEGER             -- the row stays for the names in the history
) STRICT;
CREATE UNIQUE INDEX task_path ON task (gid, task_name) WHERE removed_at IS NULL;
CREATE TABLE agent (
  id            TEXT    NOT NULL PRIMARY KEY,
  name          TEXT    NOT NULL,
  draining      INTEGER NOT NULL,
  drain_daemons INTEGER NOT NULL,
  boot_id       TEXT,
  boot_seen_at  INTEGER,
  incarnation   INTEGER NOT NULL,
  version       TEXT,
  last_seen_at  INTEGER,
  created_at    INTEGER NOT NULL,
  removed_at    INTEGER
, dial_address TEXT) STRICT;
CREATE UNIQUE INDEX agent_name ON agent (name) WHERE removed_at IS NULL;
CREATE TABLE agent_group (
  agent TEXT NOT NULL REFERENCES agent (id),
  gid   TEXT NOT NULL,
  PRIMARY KEY (agent, gid)
) STRICT;
CREATE TABLE operator (
  id         TEXT    NOT NULL PRIMARY KEY,
  name       TEXT    NOT NULL,
  logged_in  INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  removed_at INTEGER
) STRICT;
CREATE UNIQUE INDEX operator_name ON operator (name) WHERE removed_at IS NULL;
CREATE TABLE operator_role (
  operator TEXT NOT NULL REFERENCES operator (id),
  gid      TEXT NOT NULL,        -- '' = all groups
  role     TEXT NOT NULL,
  PRIMARY KEY (operator, gid)
) STRICT;
CREATE TABLE token (
  hash       TEXT    NOT NULL PRIMARY KEY,
  purpose    TEXT    NOT NULL,   -- agent, operator
  operator   TEXT,
  gids       TEXT,               -- JSON array
  expires_at INTEGER NOT NULL
) STRICT;
CREATE TABLE run (
  run_id       TEXT    NOT NULL,
  run_id_back  TEXT    NOT NULL, -- the last 8 characters of run_id, backwards: to find a run by its end
  task         TEXT    NOT NULL REFERENCES task (id),
  revision     INTEGER NOT NULL,
  target       TEXT    NOT NULL, -- the agent's id, '' for target one
  agent        TEXT,
  slot         INTEGER NOT NULL,
  cause        TEXT    NOT NULL,
  scheduled_at INTEGER NOT NULL,
  start_before INTEGER NOT NULL,
  outcome      TEXT,
  reason       TEXT,
  exit_code    INTEGER,
  exit_signal  INTEGER,
  pid          INTEGER,
  attempt      INTEGER,
  started_at   INTEGER,
  finished_at  INTEGER,
  output_bytes INTEGER,
  tail         TEXT              -- last, because it may be long
) STRICT;
CREATE UNIQUE INDEX run_key ON run (task, scheduled_at, target, slot, cause);
CREATE INDEX run_by_time ON run (scheduled_at);
CREATE INDEX run_by_outcome ON run (outcome, scheduled_at);
CREATE INDEX run_by_agent ON run (agent, scheduled_at);
CREATE INDEX run_by_end ON run (scheduled_at / 3600000, run_id_back);
CREATE UNIQUE INDEX run_unsettled ON run (run_id) WHERE outcome IS NULL OR outcome = 'lost';
CREATE TABLE answer (
  request_id  TEXT    NOT NULL,
  operator    TEXT    NOT NULL,
  answer      TEXT    NOT NULL,  -- JSON
  answered_at INTEGER NOT NULL,
  PRIMARY KEY (request_id, operator)
) STRICT;
CREATE INDEX answer_by_time ON answer (answered_at);
CREATE TABLE audit (
  seq         INTEGER PRIMARY KEY,
  digest      TEXT    NOT NULL,  -- of all columns after it: an entry written twice is there once
  at          INTEGER NOT NULL,
  operator    TEXT    NOT NULL,
  address     TEXT    NOT NULL,
  deed        TEXT    NOT NULL,
  subject     TEXT    NOT NULL,
  gid         TEXT,
  before_json TEXT,
  after_json  TEXT
) STRICT;
CREATE UNIQUE INDEX audit_digest ON audit (digest);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_group ON audit (gid, at);
INSERT INTO schema_migration VALUES (1, '561304eb104942a5d33428646d9ef0c04c3ef336f9f8beb386eab33daf9fbdd5', 0);
INSERT INTO schema_migration VALUES (3, 'b395454206154d4d5453ff2adf2a9de8359bda3190424a55e7f36070c147bfff', 0);
INSERT INTO lease VALUES ('center', 'c1', 1, 1800000003000);
INSERT INTO fleet_group VALUES ('Web', '["www-data","x y"]', 1799996400000);
INSERT INTO fleet_group VALUES ('web', NULL, 1799996400000);
INSERT INTO task VALUES ('01hz0000000000000000000001', 'web', 'dump', '*/5 3 * * *', '[ -f /x ] && echo ''ü%''', 1, 'www-data', 1500, 3, 0, 1, 4, '{"catch_up":true,"jitter_ms":250,"misfire_grace_ms":61000,"note":"nightly","target":["a1"],"timezone":"Europe/Berlin","work":{"backoff":{"first_ms":10,"longest_ms":7000},"cwd":"/tmp","daemon":true,"env":{"A":"b\nc"},"env_file":"/etc/env","grace_ms":1000,"limits":[{"kind":"nofile","value":4096}],"nice":5,"output":"tail","overlap":"queue","parole":"never","restart":"on-failure","retries":2,"start_retries":5,"start_seconds_ms":2000,"stop_signal":"KILL","success_codes":[0,3],"umask":23}}', 1500, NULL, 11, 'admin', 12, NULL);
INSERT INTO task VALUES ('01hz0000000000000000000002', 'Web', 'dump', '0 0 * * *', '["echo","a \"b\""]', 0, 'root', NULL, 1, 1, 0, 4, '{"catch_up":false,"jitter_ms":0,"misfire_grace_ms":3600000,"note":null,"target":"all","timezone":null,"work":{"backoff":{"first_ms":1000,"longest_ms":60000},"cwd":null,"daemon":false,"env":{},"env_file":null,"grace_ms":10000,"limits":[],"nice":0,"output":"none","overlap":"skip","parole":{"after_ms":600000},"restart":"always","retries":0,"start_retries":3,"start_seconds_ms":1000,"stop_signal":"TERM","success_codes":[0],"umask":18}}', NULL, NULL, 11, 'admin', 12, NULL);
INSERT INTO agent VALUES ('01hz0000000000000000000001', 'a1', 1, 1, 'd2f1-77', 7, 9, '0.1.0', 8, 6, NULL, NULL);
INSERT INTO agent VALUES ('01hz0000000000000000000002', 'A1', 0, 0, NULL, NULL, 9, NULL, NULL, 6, NULL, NULL);
INSERT INTO agent VALUES ('01hz0000000000000000000003', 'dialled', 1, 1, 'd2f1-77', 7, 9, '0.1.0', 8, 6, NULL, '[2001:db8::1]:9501');
INSERT INTO agent_group VALUES ('01hz0000000000000000000001', 'Web');
INSERT INTO agent_group VALUES ('01hz0000000000000000000001', 'web');
INSERT INTO agent_group VALUES ('01hz0000000000000000000003', 'Web');
INSERT INTO agent_group VALUES ('01hz0000000000000000000003', 'web');
INSERT INTO operator VALUES ('01hz0000000000000000000001', 'admin', 1, 5, NULL);
INSERT INTO operator_role VALUES ('01hz0000000000000000000001', '', 'viewer');
INSERT INTO operator_role VALUES ('01hz0000000000000000000001', 'web', 'admin');
INSERT INTO token VALUES ('aa11', 'agent', NULL, '["web"]', 30);
INSERT INTO run VALUES ('3x2yytqdr0nanpqxpx6tfkyc0j', 'j0cykft6', '01hz0000000000000000000001', 4, '01hz0000000000000000000001', '01hz0000000000000000000001', 2, 'rule', 1000, 61000, 'failed', 'exit code 3', 3, 15, 4711, 2, 20, 21, 1099511627776, CAST(x'6c696e65000a' AS TEXT));
INSERT INTO run VALUES ('4xq90trfmsm2j0hqdmekaf5pfd', 'dfp5fake', '01hz0000000000000000000001', 4, '01hz0000000000000000000001', '01hz0000000000000000000001', 2, 'rule', 2000, 62000, 'succeeded', 'exit code 3', 3, 15, 4711, 2, 20, 21, 1099511627776, CAST(x'6c696e65000a' AS TEXT));
INSERT INTO run VALUES ('00p55h074jgay6h7yetvenhjyw', 'wyjhnevt', '01hz0000000000000000000002', 5, '', '01hz0000000000000000000002', 2, 'rule', 3000, 63000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO run VALUES ('14cz2bc8ynt4fsp9yt37gcenwm', 'mwnecg73', '01hz0000000000000000000001', 4, '01hz0000000000000000000001', '01hz0000000000000000000001', 2, 'daemon', 4000, 64000, 'stopped', 'exit code 3', 3, 15, 4711, 2, 20, 21, 1099511627776, CAST(x'6c696e65000a' AS TEXT));
INSERT INTO answer VALUES ('r1', '01hz0000000000000000000001', '{"ok":true}', 1800000000000);
INSERT INTO audit VALUES (1, 'b9ab3b0d620bf74f686e497f53cb963eaa1212ff63db81d4037e9aace6d47c44', 1, 'admin', '10.0.0.1:55', 'task edit', 'web/dump', 'web', '{}', NULL);
