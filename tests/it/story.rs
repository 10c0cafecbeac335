//! Plays examples as a reader would: line after line in a shell, in a directory of its own, against a real fleet.
//!
//! What names another machine in an example stands for something of this one, and only that is put in its place: a
//! center's address, a state directory below /var/lib, an account, the commands that tasks run, an id of a run.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::page::{Example, is_alike};
use crate::world::{
    CLIENT, PATIENCE, World, end, end_keeper, eventually, found, program, run_user, signal,
};

/// An id of a run, as the examples write it.
const RUN: &str = "4k2m9x1p";
/// A host that waits to be added, as the examples write it; the fingerprint of its key is the line's last word.
const WAITING: &str = "192.0.2.21:9501";
/// A cursor of events, as the examples write it.
const CURSOR: &str = "CURSOR";

/// What a program that goes on by itself is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// Ends by itself.
    Ends,
    /// Serves until the story ends.
    Serves,
    /// Waits for another command, which it prints.
    Waits,
    /// Shows things until it is interrupted, and exits so then.
    Streams(i32),
}

/// How an example goes on.
fn way(line: &str) -> Way {
    let runs = ["ucron-center run", "ucron-agent run", "ucron-keeper run"];
    let follows = line.split_whitespace().any(|word| word == "-f");
    if runs.iter().any(|start| line.starts_with(start)) {
        Way::Serves
    } else if line.starts_with("ucron-agent join --listen ") {
        Way::Waits
    } else if line.contains("ucron dev") {
        Way::Streams(0)
    } else if follows && !line.starts_with("ucron run ") {
        Way::Streams(130)
    } else {
        Way::Ends
    }
}

/// A reader at a shell.
pub struct Story<'a> {
    world: &'a World,
    /// The directory that they are in, and below it their home and their programs.
    here: PathBuf,
    home: PathBuf,
    env: BTreeMap<String, String>,
    /// What they paste where a token is read.
    pub token: String,
    services: Vec<Begun>,
    /// How many hosts have an agent; the last is the one at hand.
    hosts: u32,
    /// Address and fingerprint of the host that waits to be added.
    waiting: Option<(String, String)>,
    played: u32,
}

impl<'a> Story<'a> {
    /// A reader with nothing but the programs, in a directory of the world's.
    pub fn new(world: &'a World) -> Self {
        let here = world.path("reader");
        let story = Self {
            world,
            home: here.join("home"),
            here,
            env: BTreeMap::new(),
            token: String::new(),
            services: Vec::new(),
            hosts: 0,
            waiting: None,
            played: 0,
        };
        for dir in ["bin", "run", "home", "out"] {
            std::fs::create_dir_all(story.here.join(dir)).unwrap();
        }
        // Another host is this one.
        story.stub("ssh", "shift\nexec \"$@\"");
        story.stub("editor", "sed -i 's/30 3/45 3/' \"$1\"");
        // Links instead of copies of some hundred megabytes.
        story.stub(
            "install",
            "for last; do :; done\nfor file; do\n  [ \"$file\" = \"$last\" ] && break\n  [ -x \"$file\" ] && ln -s \"$PWD/$file\" \"$last\" || exit 1\ndone",
        );
        story.finds_programs();
        for name in ["dump.sh", "probe", "backup", "report"] {
            story.work(name, "echo begin\necho end");
        }
        for name in ["worker", "run"] {
            story.work(name, "while :; do echo at work; sleep 1; done");
        }
        story
    }

    /// Puts the built programs in the reader's PATH, as if they were installed.
    fn finds_programs(&self) {
        let built = Path::new(CLIENT).parent().unwrap();
        for name in ["ucron", "ucron-center", "ucron-agent", "ucron-keeper"] {
            let _ = std::os::unix::fs::symlink(built.join(name), self.here.join("bin").join(name));
        }
    }

    /// Takes them away again.
    pub fn installs_by_hand(self) -> Self {
        for name in ["ucron", "ucron-center", "ucron-agent", "ucron-keeper"] {
            std::fs::remove_file(self.here.join("bin").join(name)).unwrap();
        }
        self
    }

    fn stub(&self, name: &str, text: &str) {
        write_script(&self.here.join("bin").join(name), text);
    }

    /// A command of the tasks.
    fn work(&self, name: &str, text: &str) {
        write_script(&self.world.work(name), text);
    }

    /// Has the first operator's client home.
    pub fn is_admin(&mut self) {
        let home = self.world.path("center/admin").display().to_string();
        self.env.insert("UCRON_HOME".to_owned(), home);
    }

    /// Goes on at another machine: nothing is there but the programs.
    pub fn moves(&mut self, name: &str) {
        self.home = self.here.join(name);
        std::fs::create_dir_all(&self.home).unwrap();
    }

    /// The state directory of the agent at hand.
    fn agent(&self) -> PathBuf {
        self.world.path(&format!("host{}", self.hosts))
    }

    /// What the examples name, and what stands for it here; the first that fits.
    fn stand_ins(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.world.path(name).display().to_string();
        let work = |name: &str| self.world.work_name(name);
        let built = Path::new(CLIENT).parent().unwrap().display().to_string();
        let mut all = vec![
            (
                "cargo run --release --bin ucron --".into(),
                format!("{built}/ucron"),
            ),
            ("cd target/release".into(), format!("cd {built}")),
            ("/usr/local/bin/backup".into(), work("backup")),
            (
                "/usr/local/bin/".into(),
                format!("{}/", self.here.join("bin").display()),
            ),
            ("/srv/worker/run".into(), work("run")),
            (
                "/opt/".into(),
                format!("{}/", work("").trim_end_matches('/')),
            ),
            ("/var/lib/ucron-center".into(), path("center")),
            (
                "/var/lib/ucron-agent".into(),
                self.agent().display().to_string(),
            ),
            ("0.0.0.0:9502".into(), "127.0.0.1:0".into()),
            ("0.0.0.0:9501".into(), "127.0.0.1:0".into()),
        ];
        if self.world.path("center/center.addr").exists() {
            for center in ["center.example:9502", "CENTER:9502"] {
                all.push((center.into(), self.world.address()));
            }
        }
        let user = run_user();
        for account in ["postgres", "www-data", "backup"] {
            all.push((format!("--user {account}"), format!("--user {user}")));
        }
        all
    }

    /// An example with what stands here for the names in it.
    fn mapped(&self, line: &str, more: &[(&str, String)]) -> String {
        let mut line = line.to_owned();
        for (name, here) in more {
            line = line.replace(name, here);
        }
        for (name, here) in self.stand_ins() {
            line = line.replace(&name, &here);
        }
        if let (true, Some((address, fingerprint))) = (line.contains(WAITING), &self.waiting) {
            line = line.replace(WAITING, address);
            let shown = line.rsplit(' ').next().unwrap().to_owned();
            line = line.replace(&shown, fingerprint);
        }
        if line.contains(RUN) {
            line = line.replace(RUN, &self.process());
        }
        if line.contains(CURSOR) {
            line = line.replace(CURSOR, &self.cursor());
        }
        line
    }

    /// An answer as the page would show it.
    fn unmapped(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, here) in self.stand_ins() {
            if !name.starts_with("--user") {
                text = text.replace(&here, &name);
            }
        }
        text
    }

    /// The last characters of a run that goes on.
    fn process(&self) -> String {
        let process = self.world.json(&["ps", "web/worker"])[0]["run_id"].clone();
        let id = process.as_str().unwrap();
        id[id.len() - RUN.len()..].to_owned()
    }

    fn cursor(&self) -> String {
        let events = self.world.must(&["events", "-o", "json"]);
        let last: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
        last["cursor"].as_str().unwrap().to_owned()
    }

    fn out(&self) -> PathBuf {
        self.here.join("out").join(self.played.to_string())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.out()).unwrap()
    }

    /// Begins a line in a shell; what it says on both streams goes into one file, in order, as on a terminal.
    fn begin(&mut self, line: &str) -> Begun {
        self.played += 1;
        let out = File::create(self.out()).unwrap();
        let input = self.here.join("input");
        // Nothing else reads what is typed.
        let asks = [" join ", " login "].iter().any(|word| line.contains(word));
        std::fs::write(&input, if asks { &self.token } else { "" }).unwrap();
        let child = self
            .shell(line)
            .stdin(File::open(input).unwrap())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn();
        Begun(child.unwrap())
    }

    fn shell(&self, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut shell = program("sh");
        shell
            .args(["-c", line])
            .current_dir(&self.here)
            .env_remove("VISUAL")
            .env_remove("UCRON_CONTEXT")
            .env("EDITOR", "editor")
            .env("HOME", &self.home)
            .env("XDG_RUNTIME_DIR", self.here.join("run"))
            .env(
                "PATH",
                format!("{}:{path}", self.here.join("bin").display()),
            )
            .envs(&self.env);
        shell
    }

    /// Plays an example; it must exit with 0, with another code where the page shows that it fails, and must answer
    /// what the page shows.
    #[track_caller]
    pub fn plays(&mut self, example: &Example) {
        self.plays_with(example, &[]);
    }

    /// [`Story::plays`] with further stand-ins.
    #[track_caller]
    pub fn plays_with(&mut self, example: &Example, more: &[(&str, String)]) {
        if example.tries(&["ucron-agent", "join"]) {
            self.hosts += 1;
        }
        let line = self.mapped(&example.line, more);
        if let Some((name, value)) = line
            .strip_prefix("export ")
            .and_then(|set| set.split_once('='))
        {
            self.env.insert(name.to_owned(), value.to_owned());
            return;
        }
        match way(&line) {
            Way::Ends => self.plays_to_the_end(example, &line),
            Way::Serves => self.serves(&line),
            Way::Waits => self.waits(&line),
            Way::Streams(code) => self.streams(&line, code),
        }
    }

    #[track_caller]
    fn plays_to_the_end(&mut self, example: &Example, line: &str) {
        let mut child = self.begin(line);
        let code = child.code(line);
        let said = self.said();
        let fails = example
            .shown
            .first()
            .is_some_and(|line| line.starts_with("ucron: "));
        assert_eq!(code != 0, fails, "`{line}` exited with {code}: {said}");
        if !example.shown.is_empty() {
            self.answers(example, &said);
        }
        if self
            .waiting
            .take_if(|_| line.contains(" agent add "))
            .is_some()
        {
            self.ended();
        }
        if let Some(token) = said
            .lines()
            .find(|line| ucron::model::Token::parse(line).is_ok())
        {
            token.clone_into(&mut self.token);
        }
    }

    #[track_caller]
    fn answers(&self, example: &Example, said: &str) {
        let said = self.unmapped(said);
        let said: Vec<&str> = said.lines().collect();
        let same = said.len() == example.shown.len()
            && example
                .shown
                .iter()
                .zip(&said)
                .all(|(shown, said)| is_alike(shown, said));
        assert!(
            same,
            "`{}` is shown with\n{}\nand says\n{}",
            example.line,
            example.shown.join("\n"),
            said.join("\n")
        );
    }

    /// Starts what goes on until the story ends, and waits until it is at work.
    #[track_caller]
    fn serves(&mut self, line: &str) {
        let mut child = self.begin(&format!("exec {line}"));
        let is_center = line.starts_with("ucron-center");
        eventually(&format!("`{line}` is at work"), || {
            assert!(child.ended().is_none(), "`{line}` ended: {}", self.said());
            if is_center {
                return self.world.path("center/center.addr").exists();
            }
            ucron::exec::is_running(&self.agent())
        });
        self.services.push(child);
    }

    /// Starts a host that waits to be added, and keeps what it prints.
    #[track_caller]
    fn waits(&mut self, line: &str) {
        let mut child = self.begin(&format!("exec {line}"));
        let said = found(&format!("`{line}` prints what to run next"), || {
            let said = self.said();
            assert!(child.ended().is_none(), "`{line}` ended: {said}");
            let printed = said.lines().find(|line| line.contains("ucron agent add "));
            printed.map(str::to_owned)
        });
        let words: Vec<&str> = said.split_whitespace().collect();
        self.waiting = Some((words[4].to_owned(), words[6].to_owned()));
        self.services.push(child);
    }

    /// Lets it show something, and interrupts it.
    #[track_caller]
    fn streams(&mut self, line: &str, code: i32) {
        let mut child = self.begin(&format!("exec {line}"));
        eventually(&format!("`{line}` shows something"), || {
            assert!(child.ended().is_none(), "`{line}` ended: {}", self.said());
            self.said().lines().count() > 2
        });
        signal(child.0.id(), Signal::INT);
        assert_eq!(child.code(line), code, "{line}: {}", self.said());
    }

    /// Waits until a service has ended by itself, well.
    pub fn ended(&mut self) {
        let mut service = self.services.pop().unwrap();
        let status = found("the service ends", || service.ended());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        while self.services.pop().is_some() {}
        for host in 0..=self.hosts {
            self.hosts = host;
            if ucron::exec::is_running(&self.agent()) {
                end_keeper(&self.agent());
            }
        }
    }
}

/// A program under way; it is asked to end when the test is done with it, and made to where it does not.
struct Begun(Child);

impl Begun {
    fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// The exit code once it has ended.
    #[track_caller]
    fn code(&mut self, line: &str) -> i32 {
        let status = found(&format!("`{line}` ends"), || self.ended());
        status.code().unwrap_or(-1)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        if matches!(self.0.try_wait(), Ok(None)) {
            signal(self.0.id(), Signal::TERM);
        }
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        end(&mut self.0);
    }
}

fn write_script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}
