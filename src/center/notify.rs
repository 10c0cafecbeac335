//! The notify commands: programs that an administrator of the center's host names in the center's settings. Each
//! route has a worker that starts one at a time, in order, with the notice on its standard input, and ends it and
//! its process group when its time is over. Decides nothing about what is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::core::CoreSettings;
use super::event::Event;
use super::memory::reached_again;
use super::notices::Route;
use super::shell::{Inbox, Incoming};
use crate::clock;
use crate::config::CenterSettings;
use crate::files::write_private;
use crate::model::GroupName;
use crate::workers::Workers;

/// Where is kept over restarts what is wrong with the store.
pub(super) const KEPT_FILE: &str = "store-trouble.json";
/// Notices that wait for one command at most; what is beyond is dropped, and said.
const MOST_WAITING: usize = 256;
/// Bytes of its standard error that are read.
const MOST_WORDS: u64 = 4096;
/// How long the end of its standard error is waited for: what it started in the background may hold it open.
const WORDS_WAIT: Duration = Duration::from_millis(200);

/// The commands, as the settings name them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotifyCommands {
    commands: BTreeMap<Route, Vec<String>>,
    timeout: Duration,
}

impl NotifyCommands {
    /// Out of the settings; what is no group's name is passed over with a warning.
    pub fn of(settings: &CenterSettings) -> Self {
        let mut commands = BTreeMap::new();
        if !settings.notify.is_empty() {
            commands.insert(None, settings.notify.clone());
        }
        for (group, words) in &settings.notify_group {
            match GroupName::parse(group) {
                Ok(name) => drop(commands.insert(Some(name), words.clone())),
                Err(fault) => warn!("`notify_group` is passed over: {fault}"),
            }
        }
        Self {
            commands,
            timeout: settings.notify_timeout,
        }
    }

    fn routes(&self) -> BTreeSet<Route> {
        self.commands.keys().cloned().collect()
    }
}

/// Starts notify commands, and writes down what is wrong.
pub(super) struct Notifier {
    commands: Arc<RwLock<NotifyCommands>>,
    queues: BTreeMap<Route, mpsc::Sender<String>>,
    /// What was written down last.
    known: String,
    kept: watch::Sender<Option<String>>,
    workers: Workers,
    inbox: Inbox,
}

impl Notifier {
    /// Takes up the commands, and every change of them.
    pub fn new(
        file: PathBuf,
        commands: watch::Receiver<NotifyCommands>,
        workers: Workers,
        inbox: Inbox,
    ) -> Self {
        // Where there is none nothing was wrong.
        let kept_before = std::fs::read_to_string(&file).unwrap_or_default();
        let (kept, written) = watch::channel(None);
        workers.spawn("conditions", write_kept(file, written));
        let known = Arc::new(RwLock::new(commands.borrow().clone()));
        let stop = workers.token().clone();
        let told = follow(commands, Arc::clone(&known), inbox.clone());
        workers.spawn("notify commands", async move {
            let _ = stop.run_until_cancelled(told).await;
        });
        Self {
            commands: known,
            queues: BTreeMap::new(),
            known: kept_before,
            kept,
            workers,
            inbox,
        }
    }

    /// The commands that there are.
    pub fn routes(&self) -> BTreeSet<Route> {
        let known = self.commands.read();
        known.map_or_else(|_| BTreeSet::new(), |known| known.routes())
    }

    /// What was written down last; empty where nothing was.
    pub fn kept(&self) -> &str {
        &self.known
    }

    /// Writes this down in place of what was there.
    pub fn keep(&mut self, text: String) {
        self.known.clone_from(&text);
        self.kept.send_replace(Some(text));
    }

    /// Another center leads: if it was told that this one cannot reach the store, that is over.
    pub fn tell_reached(&mut self, settings: &CoreSettings) {
        let address = settings.addresses.first().cloned().unwrap_or_default();
        let told = reached_again(&self.known, clock::now(), &settings.fleet, address);
        let Some((groups, notice)) = told else { return };
        self.keep(String::new());
        let is_told = |route: &Route| route.as_ref().is_none_or(|group| groups.contains(group));
        for route in self.routes().into_iter().filter(is_told) {
            self.notify(route, notice.clone());
        }
    }

    /// Tells one route.
    pub fn notify(&mut self, route: Route, notice: String) {
        let queue = self
            .queues
            .entry(route.clone())
            .or_insert_with(|| serve(&route, &self.commands, &self.workers, &self.inbox));
        if queue.try_send(notice).is_err() {
            let why = format!("did not keep up: more than {MOST_WAITING} notices wait");
            let (inbox, event) = (self.inbox.clone(), Event::Notified(route, Err(why)));
            self.workers.spawn("notify", tell(inbox, event));
        }
    }
}

async fn tell(inbox: Inbox, event: Event) {
    // Where the loop is gone the center is stopping.
    let _ = inbox.send(Incoming::Event(event)).await;
}

/// Tells the core which commands there are, now and whenever that changes.
async fn follow(
    mut commands: watch::Receiver<NotifyCommands>,
    known: Arc<RwLock<NotifyCommands>>,
    inbox: Inbox,
) {
    loop {
        let now = commands.borrow_and_update().clone();
        tell(inbox.clone(), Event::Routes(now.routes())).await;
        if let Ok(mut known) = known.write() {
            *known = now;
        }
        if commands.changed().await.is_err() {
            return;
        }
    }
}

/// The latest text counts; one that is overtaken is never written.
async fn write_kept(file: PathBuf, mut kept: watch::Receiver<Option<String>>) {
    while kept.changed().await.is_ok() {
        let Some(text) = kept.borrow_and_update().clone() else {
            continue;
        };
        if let Err(fault) = write_private(&file, text.as_bytes()) {
            warn!("what is wrong with the store may be told again after a restart: {fault}");
        }
    }
}

/// Starts the worker of a route.
fn serve(
    route: &Route,
    commands: &Arc<RwLock<NotifyCommands>>,
    workers: &Workers,
    inbox: &Inbox,
) -> mpsc::Sender<String> {
    let (queue, mut notices) = mpsc::channel::<String>(MOST_WAITING);
    let (route, commands, inbox) = (route.clone(), Arc::clone(commands), inbox.clone());
    let stop = workers.token().clone();
    workers.spawn("notify", async move {
        while let Some(Some(notice)) = stop.run_until_cancelled(notices.recv()).await {
            let Some((words, timeout)) = command_of(&commands, &route) else {
                continue;
            };
            let result = run(&words, &notice, timeout).await;
            match &result {
                Ok(()) => info!(command = words.join(" "), "notified"),
                Err(why) => warn!(command = words.join(" "), "a notify command {why}"),
            }
            tell(inbox.clone(), Event::Notified(route.clone(), result)).await;
        }
    });
    queue
}

fn command_of(
    commands: &Arc<RwLock<NotifyCommands>>,
    route: &Route,
) -> Option<(Vec<String>, Duration)> {
    let known = commands.read().ok()?;
    Some((known.commands.get(route)?.clone(), known.timeout))
}

/// Runs one command; says what was wrong with it.
async fn run(words: &[String], notice: &str, timeout: Duration) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("is empty")?;
    #[allow(
        clippy::disallowed_methods,
        reason = "this file starts the notify commands"
    )]
    let command = std::process::Command::new(program);
    let mut command = Command::from(command);
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("UCRON_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|fault| format!("cannot be started: {fault}"))?;
    let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let ended = tokio::time::timeout(timeout, finish(&mut child, notice)).await;
    let Ok(ended) = ended else {
        // The command is not waited for yet, so that its group is still its own.
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait().await;
        let limit = crate::rule::format_duration(timeout);
        return Err(format!("took more than {limit} and was ended"));
    };
    let (status, words) = ended.map_err(|fault| format!("cannot be waited for: {fault}"))?;
    said(status, &words)
}

/// Gives the notice and waits for the end; the last line of standard error comes with it.
async fn finish(child: &mut Child, notice: &str) -> std::io::Result<(ExitStatus, String)> {
    if let Some(mut stdin) = child.stdin.take() {
        // A command that reads nothing is fine; a notice fits into the pipe.
        let _ = stdin.write_all(format!("{notice}\n").as_bytes()).await;
    }
    let mut words = Vec::new();
    let stderr = child.stderr.take();
    let status = {
        let reading = async {
            if let Some(stderr) = stderr {
                let _ = stderr.take(MOST_WORDS).read_to_end(&mut words).await;
            }
        };
        tokio::pin!(reading);
        tokio::select! {
            status = child.wait() => {
                let _ = tokio::time::timeout(WORDS_WAIT, &mut reading).await;
                status?
            }
            () = &mut reading => child.wait().await?,
        }
    };
    let text = String::from_utf8_lossy(&words);
    Ok((status, text.lines().last().unwrap_or_default().to_owned()))
}

fn said(status: ExitStatus, words: &str) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    let how = match status.code() {
        Some(code) => format!("exited with code {code}"),
        None => "was killed by a signal".to_owned(),
    };
    let words: String = words
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    Err(match words.trim() {
        "" => how,
        words => format!("{how}: {words}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(line: &str, timeout: Duration, wanted: Result<(), &str>) {
        let words = ["/bin/sh", "-c", line].map(str::to_owned);
        let got = run(&words, "{}", timeout).await;
        assert_eq!(got, wanted.map_err(str::to_owned), "{line}");
    }

    #[tokio::test]
    async fn a_command_that_fails_says_why() {
        let long = Duration::from_mins(1);
        check("read line && test \"$line\" = '{}'", long, Ok(())).await;
        check("exit 3", long, Err("exited with code 3")).await;
        check("echo no >&2; exit 1", long, Err("exited with code 1: no")).await;
        check("kill -9 $$", long, Err("was killed by a signal")).await;
        let missing = run(&["/does/not/exist".to_owned()], "{}", long).await;
        assert!(missing.unwrap_err().starts_with("cannot be started: "));
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended() {
        let short = Duration::from_millis(100);
        let wanted = Err("took more than 100ms and was ended");
        check("sleep 1000; true", short, wanted).await;
        check("exec 2>&-; sleep 1000; true", short, wanted).await;
    }
}
