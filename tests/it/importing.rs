//! The ancestor's table on a real MariaDB: shown, refused row by row, added in one step or not at all.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use serde_json::Value;

use crate::database::Server;
use crate::programs::{Answer, CLIENT, ask, program};
use crate::world::{World, tell};

/// The ancestor's own table, with one row that is good, one for a shell, one that is off, and one that cannot be kept.
const TABLE: &str = "CREATE TABLE crontab (
    id BIGINT NOT NULL PRIMARY KEY, gid INT NOT NULL, taskname VARCHAR(64) NOT NULL, rule VARCHAR(32) NOT NULL,
    runnumber TINYINT NOT NULL DEFAULT 0, execute VARCHAR(512) NOT NULL, status TINYINT NOT NULL DEFAULT 0,
    runuser VARCHAR(32) NOT NULL, manager VARCHAR(255), agents VARCHAR(1024),
    createtime TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
  ) DEFAULT CHARSET = utf8mb4;
  CREATE TABLE crongroup (gid INT NOT NULL PRIMARY KEY, gname VARCHAR(32) NOT NULL) DEFAULT CHARSET = utf8mb4;
  INSERT INTO crongroup VALUES (1, 'web'), (2, 'nowhere');
  INSERT INTO crontab (id, gid, taskname, rule, runnumber, execute, status, runuser, manager) VALUES
    (3097968986801831941, 1, '测试任务', '* * * * *', 1, '/bin/echo hello', 0, 'nobody', 'ann'),
    (3097968986801831942, 1, 'two words', '*/10 * * * * *', 0, '/bin/echo &#039;a b&#039; | wc', 0, 'nobody', NULL),
    (3097968986801831943, 1, 'off', '0 3 1 * 1', 1, '/bin/true', 1, 'nobody', NULL)";
const WRONG: &str = "INSERT INTO crontab (id, gid, taskname, rule, execute, runuser) VALUES
    (4, 1, 'bad', '61 * * * *', '/bin/true', 'nobody'), (5, 2, 'lost', '@daily', '/bin/true', 'nobody')";

struct Case {
    world: World,
    url: String,
    name: String,
    server: Server,
    dir: tempfile::TempDir,
}

impl Case {
    fn new() -> Option<Self> {
        let Some(server) = Server::start() else {
            tell("skipped, needs the packages mariadb-server-core and mariadb-client-core");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let name = server.new_database();
        server.sql(&format!("USE {name}; SET NAMES utf8mb4; {TABLE}"));
        let url = format!("mysql://ucron@127.0.0.1:{}/{name}", server.port);
        let world = World::small();
        Some(Self {
            world,
            url,
            name,
            server,
            dir,
        })
    }

    fn sql(&self, sql: &str) {
        self.server
            .sql(&format!("USE {}; SET NAMES utf8mb4; {sql}", self.name));
    }

    /// `import mysql` with the password in a variable.
    fn import(&self, flags: &[&str]) -> Answer {
        let mut command = program(CLIENT);
        command
            .env("DB_PASSWORD", "se:cret")
            .arg("--home")
            .arg(self.world.path("center/admin"));
        command.args([
            "import",
            "mysql",
            "--url",
            &self.url,
            "--password-env",
            "DB_PASSWORD",
        ]);
        ask(command.args(flags), "")
    }

    fn tasks(&self) -> Vec<Value> {
        self.world.json(&["ls"]).as_array().unwrap().clone()
    }

    fn task(&self, name: &str) -> Value {
        let tasks = self.tasks();
        tasks
            .into_iter()
            .find(|task| task["task_name"] == name)
            .unwrap()
    }
}

const NAMED: [&str; 2] = ["--groups-table", "crongroup"];

#[test]
fn the_ancestors_tasks_are_shown_and_then_added_as_they_were() {
    let Some(case) = Case::new() else { return };
    let dry = case
        .import(&[NAMED[0], NAMED[1], "--dry-run"])
        .exits(0)
        .says("3 could be added");
    assert!(dry.out.contains("web/two-words"), "{dry:?}");
    let dry = dry.says("row 3097968986801831943: day of month and day of week must both match");
    dry.says("the column `createtime` is not taken over; 3 rows have something in it");
    assert!(case.tasks().is_empty());

    let added = case
        .import(&[NAMED[0], NAMED[1], "--tz", "Asia/Shanghai", "-o", "json"])
        .exits(0);
    assert_eq!(added.json()[0]["fate"], "added");
    let task = case.task("测试任务");
    assert_eq!(task["id"], added.json()[0]["id"]);
    assert_eq!(task["execute"], serde_json::json!(["/bin/echo", "hello"]));
    assert_eq!(
        (&task["target"], &task["timezone"]),
        (&"one".into(), &"Asia/Shanghai".into())
    );
    assert_eq!(
        (&task["overlap"], &task["note"]),
        (&"skip".into(), &"manager: ann".into())
    );
    let task = case.task("two-words");
    assert_eq!(
        (&task["execute"], &task["overlap"]),
        (&"/bin/echo 'a b' | wc".into(), &"allow".into())
    );
    let task = case.task("off");
    assert_eq!(
        (&task["enabled"], &task["rule"]),
        (&false.into(), &"0 3 1 * +1".into())
    );

    // A name that is taken is a conflict, and nothing comes in beside it.
    case.sql("INSERT INTO crontab (id, gid, taskname, rule, execute, runuser) VALUES (9, 1, 'new', '@daily', 'true', 'u')");
    case.import(&NAMED).exits(5).says("nothing was added");
    assert_eq!(case.tasks().len(), 3);
    case.import(&[NAMED[0], NAMED[1], "--if-exists", "keep"])
        .exits(0)
        .says("1 added, 3 there before");
    assert_eq!(case.tasks().len(), 4);
    let audit = case.world.json(&["audit"]).to_string();
    assert_eq!(audit.matches("\"import\"").count(), 4, "{audit}");
}

#[test]
fn rows_that_cannot_be_kept_are_named_and_keep_the_others_out() {
    let Some(case) = Case::new() else { return };
    case.sql(WRONG);
    let refused = case.import(&NAMED);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.out.contains("61"), "{refused:?}");
    assert!(refused.out.contains("nowhere"), "{refused:?}");
    refused.says("nothing was added: mend the rows that are refused");
    assert!(case.tasks().is_empty());
    case.import(&[NAMED[0], NAMED[1], "--skip-refused"])
        .exits(0)
        .says("3 added, 0 there before, 0 could be added, 2 refused");
    assert_eq!(case.tasks().len(), 3);
}

#[test]
fn a_database_that_cannot_be_read_is_told_in_the_flags_of_import() {
    let Some(case) = Case::new() else { return };
    case.import(&["--table", "jobs"])
        .exits(3)
        .says("no table `jobs`")
        .says("--table");
    case.import(&["--table", "crongroup"])
        .exits(2)
        .says("no column `task_name` or `taskname`");
    case.import(&["--tls", "on"]).exits(1).says("--ca");
    let ca = case.server.ca();
    case.import(&["--ca", ca.to_str().unwrap(), "--group", "web", "--dry-run"])
        .exits(0);
    let file = case.dir.path().join("password");
    std::fs::write(&file, "wrong").unwrap();
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&file, mode).unwrap();
    };
    let by_file = || {
        case.world.ucron(&[
            "import",
            "mysql",
            "--url",
            &case.url,
            "--password-file",
            file.to_str().unwrap(),
        ])
    };
    mode(0o644);
    by_file().exits(2).says("password");
    mode(0o600);
    by_file().exits(1).says("denied access");
    let url = case.url.replace("ucron@", "ucron:se:cret@");
    let told = case
        .world
        .ucron(&["import", "mysql", "--url", &url])
        .exits(2)
        .says("--password-file");
    assert!(!told.err.contains("se:cret"), "{told:?}");
}
