//! Wrong uses of the client against a real center: the exact words, the hint, the exit code, as text and as JSON.
//! The table is tests/errors.toml; UCRON_UPDATE=1 writes what is said now beside the lines that are asked.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

#[path = "it/programs.rs"]
mod programs;
#[path = "it/world.rs"]
mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ucron::auth::Authority;
use ucron::clock;
use ucron::model::{PeerRole, PeerUri};
use ucron::proto::handshake::{FIRST_LIMIT, accept, dial};
use ucron::proto::identity::{Identity, PrivateKey, store_centers};
use ucron::proto::tls::{client_config, server_config};
use world::{Answer, CENTER, CLIENT, World, ask, program, run_user};

/// A wrong use and what comes of it. `{…}` stands for what differs from fleet to fleet.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The client home.
    #[serde(rename = "as")]
    home: String,
    /// The words after `ucron`, quoted as for a shell.
    line: String,
    /// What is on its standard input.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stdin: String,
    exit: i32,
    code: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

/// Words of a line: at blanks, but not within single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The fleet that the table is asked against.
struct Fleet {
    world: World,
    /// What stands for what, the longest first.
    names: Vec<(String, String)>,
}

const NEVER: [&str; 2] = ["--rule", "0 0 1 1 *"];

impl Fleet {
    fn new() -> Self {
        let world = World::small();
        world.must(&["group", "add", "db"]);
        let probe = world.add("web/probe", &NEVER, &["true"]);
        let sleep = world.add("web/sleep", &NEVER, &["sleep 1000"]);
        world.add("web/worker", &["--daemon"], &["sleep 1000"]);
        world.add("db/probe", &NEVER, &["true"]);
        world.add("db/dump", &NEVER, &["true"]);
        let mut fleet = Self {
            world,
            names: Vec::new(),
        };
        fleet.name("probe", &probe);
        fleet.name("sleep", &sleep);
        let ended = fleet.world.run_now("web/probe").run_id;
        let open = fleet.world.must(&["run", "web/sleep"]);
        fleet
            .world
            .run_where("web/sleep", "runs", |run| run.started_at.is_some());
        fleet.name("ended", &ended);
        fleet.name("open", &open);
        fleet.operators();
        fleet.homes();
        let (dir, address) = (fleet.world.path(""), fleet.world.address());
        fleet.name("dir", dir.to_str().unwrap().trim_end_matches('/'));
        fleet.name("address", &address);
        fleet.name("user", &run_user());
        fleet
    }

    fn name(&mut self, name: &str, stands_for: &str) {
        self.names
            .push((format!("{{{name}}}"), stands_for.to_owned()));
    }

    fn token(&self, operator: &str) -> String {
        self.world.must(&["token", "operator", operator])
    }

    fn log_in(&self, home: &str, token: &str) -> Answer {
        let mut login = program(CLIENT);
        login.args(["login", &self.world.address(), "--home"]);
        ask(login.arg(self.world.path(home)), token)
    }

    /// A viewer and an operator of one group, one who was removed, one without a role.
    fn operators(&mut self) {
        for (name, role) in [
            ("eve", "viewer"),
            ("ann", "operator"),
            ("bob", "admin"),
            ("new", ""),
        ] {
            self.log_in(name, &self.token(name)).exits(0);
            if !role.is_empty() {
                self.world.must(&["grant", name, role, "--group", "web"]);
            }
        }
        self.world.must(&["operator", "rm", "bob"]);
        let used = self.token("eve");
        self.log_in("twice", &used).exits(0);
        self.name("used", &used);
        let short = self
            .world
            .must(&["token", "operator", "eve", "--ttl", "1ms"]);
        self.name("expired", &short);
        let agent = self.world.must(&["token", "agent"]);
        self.name("agent token", &agent);
        let fresh = self.token("eve");
        self.write("token", &fresh, 0o600);
        self.write("wide token", &fresh, 0o644);
        self.name("fresh", &fresh);
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.world.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn copy_home(&self, from: &str, to: &str) {
        let to = self.world.path(to);
        fs::create_dir_all(&to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o700)).unwrap();
        for file in ["identity.pem", "centers"] {
            let from = self.world.path(from).join(file);
            fs::copy(from, to.join(file)).unwrap();
        }
    }

    /// Homes in which something is wrong.
    fn homes(&mut self) {
        for name in ["wide", "broken", "away", "lost"] {
            self.copy_home("center/admin", name);
        }
        self.write("wide/identity.pem", &self.read("wide/identity.pem"), 0o644);
        self.write("broken/identity.pem", "nothing\n", 0o600);
        // Nothing listens on the port that nobody may use.
        self.write("away/centers", "127.0.0.1:1\n", 0o600);
        self.write("lost/context", "gone\n", 0o600);
        self.copy_home("eve", "lost/contexts/second");
        let mut init = program(CENTER);
        init.args(["init", "--listen", "127.0.0.1:0", "--state"]);
        ask(init.arg(self.world.path("other")), "").exits(0);
        self.copy_home("other/admin", "stranger");
        let address = self.world.address();
        self.write("stranger/centers", &address, 0o600);
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.world.path(name)).unwrap()
    }

    fn fill(&self, text: &str) -> String {
        let names = self.names.iter();
        names.fold(text.to_owned(), |text, (name, is)| text.replace(name, is))
    }

    fn strip(&self, text: &str) -> String {
        let names = self.names.iter().filter(|(name, _)| name != "{user}");
        names.fold(text.to_owned(), |text, (name, is)| text.replace(is, name))
    }

    fn ask(&self, case: &Case, format: &[&str]) -> Answer {
        let mut command = program(CLIENT);
        command
            .env("HOME", self.world.path("nothing"))
            .env_remove("VISUAL")
            .env_remove("EDITOR")
            .arg("--home")
            .arg(self.world.path(&case.home))
            .args(format)
            .args(words(&case.line).iter().map(|word| self.fill(word)));
        ask(&mut command, &self.fill(&case.stdin))
    }

    /// What is said now.
    fn told(&self, case: &Case) -> Case {
        let answer = self.ask(case, &["-o", "json"]);
        let last = answer.err.lines().last().unwrap_or_default();
        let fault: Value = serde_json::from_str(last).unwrap_or_default();
        let text = |field: &str| fault[field].as_str().map(|text| self.strip(text));
        Case {
            home: case.home.clone(),
            line: case.line.clone(),
            stdin: case.stdin.clone(),
            exit: answer.code,
            code: text("code").unwrap_or_default(),
            message: text("message").unwrap_or_else(|| self.strip(&answer.err)),
            hint: text("hint"),
        }
    }

    fn check(&self, case: &Case) -> Result<(), String> {
        let shown = format!("{}: ucron {}", case.home, case.line);
        let answer = self.ask(case, &[]);
        let hint = case.hint.iter().map(|hint| format!("hint: {hint}\n"));
        let wanted = format!("ucron: {}\n{}", case.message, hint.collect::<String>());
        let got = (answer.code, answer.out.as_str(), self.strip(&answer.err));
        if got != (case.exit, "", wanted.clone()) {
            return Err(format!("{shown}\n  is {got:?}\n  not {wanted:?}"));
        }
        let answer = self.ask(case, &["-o", "json"]);
        let wanted = json!({"code": case.code, "message": case.message, "hint": case.hint});
        let got = serde_json::from_str::<Value>(&self.strip(&answer.err));
        match got {
            Ok(got) if got == wanted && answer.code == case.exit => Ok(()),
            _ => Err(format!("{shown} -o json\n  is {answer:?}\n  not {wanted}")),
        }
    }
}

#[test]
fn wrong_uses_are_told_exactly_with_what_to_do_next() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors.toml");
    let table: Table = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let fleet = Fleet::new();
    if std::env::var_os("UCRON_UPDATE").is_some() {
        let case = table.case.iter().map(|case| fleet.told(case)).collect();
        fs::write(&path, toml::to_string(&Table { case }).unwrap()).unwrap();
        return;
    }
    let wrong: Vec<String> = table
        .case
        .iter()
        .filter_map(|case| fleet.check(case).err())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(table.case.len() >= 60, "{}", table.case.len());
}

/// Says hello with these protocol versions as the admin, by hand; the line that comes back.
async fn greeted(world: &World, versions: &str) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let identity = Identity::load(&world.path("center/admin")).unwrap();
    let config = client_config(&identity).unwrap();
    let dialled = dial(&world.address(), &config).await.unwrap();
    let mut stream = BufReader::new(dialled.stream);
    let hello = format!(
        "{{\"kind\":\"hello\",{versions},\"version\":\"9.9.9\",\"role\":\"operator\",\"agent\":null}}\r\n"
    );
    stream.write_all(hello.as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line
}

#[tokio::test]
async fn a_client_of_a_foreign_protocol_is_told_what_to_upgrade() {
    let world = World::empty();
    for (versions, wanted) in [
        (
            "\"protocol_min\":0,\"protocol_max\":0",
            "the center speaks protocol 1 to 1, the operator 0 to 0; upgrade the operator",
        ),
        (
            "\"protocol_min\":7,\"protocol_max\":9",
            "the center speaks protocol 1 to 1, the operator 7 to 9; upgrade the center",
        ),
    ] {
        let line = greeted(&world, versions).await;
        let frame: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(frame["kind"], "error", "{line}");
        assert_eq!(frame["code"], "protocol", "{line}");
        assert_eq!(frame["message"], wanted, "{line}");
    }
}

#[test]
fn a_center_of_a_foreign_protocol_is_told_in_its_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = "f1".parse().unwrap();
    let ca = dir.path().join("ca");
    Authority::create(&ca, &fleet, clock::now(), None).unwrap();
    let authority = Authority::load(&ca, None).unwrap();
    let member = |role, id: &str| {
        let key = PrivateKey::make().unwrap();
        let uri = PeerUri {
            fleet: fleet.clone(),
            role,
            id: id.to_owned(),
        };
        let issued = authority
            .issue(&key.request().unwrap(), &uri, clock::now())
            .unwrap();
        Identity::new(key, &issued.certificate, authority.certificate()).unwrap()
    };
    let home = dir.path().join("home");
    member(PeerRole::Operator, "ann").store(&home).unwrap();
    let config = server_config(&member(PeerRole::Center, "c1")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let address = listener.local_addr().unwrap().to_string();
    store_centers(&home, &[address]).unwrap();
    let refusing = async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut accepted) = accept(stream, &config, FIRST_LIMIT).await {
                let frame =
                    "{\"kind\":\"error\",\"code\":\"protocol\",\"message\":\"upgrade ucron\"}\r\n";
                let _ = accepted.stream.write_all(frame.as_bytes()).await;
                let _ = accepted.stream.shutdown().await;
            }
        }
    };
    let workers = ucron::workers::Workers::new();
    let _guard = runtime.enter();
    workers.spawn("center", refusing);
    let mut ls = program(CLIENT);
    let answer = ask(ls.args(["ls", "--home"]).arg(&home), "");
    assert_eq!(
        (answer.code, answer.out.as_str(), answer.err.as_str()),
        (1, "", "ucron: the center closed the link: upgrade ucron\n")
    );
}
