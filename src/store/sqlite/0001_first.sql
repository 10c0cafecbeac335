-- Schema version 1. Times are milliseconds since 1970 (UTC), spans milliseconds, flags 0 or 1; text compares
-- as bytes. No name here is a reserved word of MySQL, so that its twin has the same tables and columns.

CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

-- Who has the lead. Every batch begins by updating its row.
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
) STRICT;
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

-- Two row writes a run: planned, ended. The outcome is null while the run is open.
-- Run ids are hashes. An index over all of them in their own order would dirty one page for every row that is
-- written, so the one for writing holds only runs whose ending may still change, and the one for reading is cut
-- into hours: both stay dense. A run's id is derived from its key, so the key keeps it unique.
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
