//! The agent's shell: one loop over one closed enum turns links, keeper, disk and timers into events of the core
//! and carries out its effects. Nothing in the loop waits for a disk or for a center.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::core::{AgentCore, SilenceHook};
use super::error::AgentError;
use super::event::{Effect, Event, LinkId, Now};
use super::home::Home;
use super::journal::{self, Writer};
use super::keepers::{Gate, Keepers};
use super::session::Sessions;
use crate::clock::{self, Alarm, WallSteps};
use crate::config::{AgentSettings, Settings};
use crate::exec::KeeperProgram;
use crate::exec::failpoint::{self, Point};
use crate::exec::wire::{self, BootMs, KEEPER_PROTOCOL};
use crate::exec::{KeeperLink, LinkEvent, free_space};
use crate::model::UserName;
use crate::proto::agent::{FromAgent, RunEvent, ToAgent};
use crate::proto::hello::{ErrorFrame, LinkError, Welcome};
use crate::proto::identity::{Identity, load_centers, store_centers, with_told};
use crate::proto::link::{Bounds, LinkSender, SendFault};
use crate::workers::Workers;

/// How long links may take to say good-bye.
const DRAIN: Duration = Duration::from_secs(4);

/// How often it is looked how much room the disk has.
const SPACE_EVERY: Duration = Duration::from_mins(1);

/// What the loop hears.
#[derive(Debug)]
pub enum Happening {
    /// Something for the core.
    Core(Event),
    /// A center has welcomed the agent.
    Linked {
        /// The link.
        link: LinkId,
        /// Where to send.
        sender: LinkSender<FromAgent>,
        /// The center's answer.
        welcome: Box<Welcome>,
        /// When the hello was sent.
        hello_sent: BootMs,
    },
    /// The keeper answers.
    KeeperFound {
        /// The try.
        number: u64,
        /// The link.
        link: KeeperLink,
        /// Dropped when its events may come.
        open: Gate,
    },
    /// The keeper does not answer and could not be started.
    KeeperMissing {
        /// The try.
        number: u64,
        /// Why, in words.
        reason: String,
    },
    /// The keeper says something, or is gone.
    Keeper {
        /// The try that found it.
        number: u64,
        /// What it says.
        event: LinkEvent,
    },
}

/// Where the settings come from: read at the start, and again on HUP.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The state directory.
    pub dir: PathBuf,
    /// What the command line says, (key, value).
    pub flags: Vec<(&'static str, String)>,
}

impl Reading {
    /// Reads all layers.
    pub fn read(&self) -> Result<AgentSettings, AgentError> {
        let settings = AgentSettings::load(&self.dir, &self.flags)?;
        hook(&settings).map(|_| settings)
    }
}

/// What is done when the centers are silent.
fn hook(settings: &AgentSettings) -> Result<Option<SilenceHook>, AgentError> {
    let user = settings.on_center_silent_user.as_deref();
    let user = user.map(UserName::parse).transpose();
    let user = user.map_err(AgentError::SilenceUser)?;
    let command = settings.on_center_silent.clone();
    Ok(user
        .filter(|_| !command.is_empty())
        .map(|user| SilenceHook {
            command,
            user,
            after: settings.center_silent_after,
        }))
}

/// Runs the agent of a state directory until `stop`; keeper and processes stay.
pub async fn run(
    home: Home,
    identity: Identity,
    settings: Reading,
    keeper: KeeperProgram,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let mut shell = Shell::open(home, identity, settings, keeper).await?;
    let result = shell.go(&stop).await;
    shell.close().await;
    result
}

struct Shell {
    home: Home,
    core: AgentCore,
    happenings: UnboundedReceiver<Happening>,
    sessions: Sessions,
    workers: Workers,
    links: HashMap<LinkId, LinkSender<FromAgent>>,
    keepers: Keepers,
    keeper: Option<KeeperLink>,
    keeper_number: u64,
    writer: Writer,
    alarm: Alarm,
    steps: WallSteps,
    reload: Signal,
    settings: Reading,
    /// Where centers are dialled.
    centers: Vec<String>,
    /// Whether that is for the settings to say, so that nothing is learnt.
    centers_are_set: bool,
}

impl Shell {
    async fn open(
        home: Home,
        identity: Identity,
        reading: Reading,
        keeper: KeeperProgram,
    ) -> Result<Self, AgentError> {
        let settings = reading.read()?;
        let boot_id = clock::boot_id().map_err(AgentError::system("read the boot id"))?;
        let opened = journal::open(&home.dir, &boot_id)?;
        let (tell, happenings) = unbounded_channel();
        let writer = start_writer(opened.journal, tell.clone())?;
        let workers = Workers::new();
        let bounds = Bounds {
            max_frame: usize::try_from(settings.max_frame.0).unwrap_or(usize::MAX),
            ..Bounds::default()
        };
        let sessions = Sessions::new(
            identity,
            bounds,
            boot_id,
            opened.incarnation,
            workers.clone(),
            tell.clone(),
        );
        let mut shell = Self {
            core: AgentCore::new(settings.heartbeat, bounds.max_frame),
            keepers: Keepers::new(home.dir.clone(), keeper, tell),
            happenings,
            sessions,
            workers,
            links: HashMap::new(),
            keeper: None,
            keeper_number: 0,
            writer,
            alarm: Alarm::new().map_err(AgentError::system("make a timer"))?,
            steps: WallSteps::new().map_err(AgentError::system("make a timer"))?,
            reload: signal(SignalKind::hangup()).map_err(AgentError::system("watch for HUP"))?,
            settings: reading,
            home,
            centers: Vec::new(),
            centers_are_set: settings.listen.is_some() || !settings.centers.is_empty(),
        };
        info!(
            agent = %shell.home.name, dir = %shell.home.dir.display(), incarnation = %opened.incarnation,
            "the agent starts"
        );
        shell.core.set_silence_hook(hook(&settings)?);
        shell.feed(Event::Loaded(opened.records));
        shell.look_at_kept();
        shell.keeper_number = shell.keepers.try_once(&shell.home.name);
        shell.connect(&settings).await?;
        Ok(shell)
    }

    async fn connect(&mut self, settings: &AgentSettings) -> Result<(), AgentError> {
        if let Some(address) = &settings.listen {
            let bound = TcpListener::bind(address).await;
            let listener = bound.map_err(AgentError::system(format!("listen at `{address}`")))?;
            return Ok(self.sessions.listen(listener)?);
        }
        let mut centers = settings.centers.clone();
        if centers.is_empty() {
            centers = load_centers(&self.home.dir)?;
        }
        if centers.is_empty() {
            return Err(AgentError::NoCenter(self.home.dir.join("agent.toml")));
        }
        self.sessions.dial_all(&centers)?;
        self.centers = centers;
        Ok(())
    }

    async fn go(&mut self, stop: &CancellationToken) -> Result<(), AgentError> {
        let timer = || AgentError::system("wait for a timer");
        let mut look = tokio::time::interval(SPACE_EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                rung = self.alarm.wait() => {
                    rung.map_err(timer())?;
                    self.feed(Event::Wake);
                }
                happening = self.happenings.recv() => match happening {
                    Some(happening) => self.take_in(happening),
                    None => return Ok(()),
                },
                stepped = self.steps.wait() => {
                    stepped.map_err(timer())?;
                    self.feed(Event::Wake);
                }
                _ = self.reload.recv() => self.read_settings(),
                _ = look.tick() => self.look_at_disk(),
            }
        }
    }

    /// What can change while the agent runs is taken up; the rest waits for the next start.
    fn read_settings(&mut self) {
        match self.settings.read() {
            Ok(settings) => {
                self.core.set_heartbeat(settings.heartbeat);
                // It was good a moment ago.
                self.core
                    .set_silence_hook(hook(&settings).unwrap_or_default());
                self.feed(Event::Wake);
                self.look_at_kept();
                info!(
                    "read the settings again; addresses, frame limit and logs follow at the next start"
                );
            }
            Err(error) => error!(%error, "the settings stay as they are"),
        }
    }

    fn look_at_disk(&mut self) {
        match free_space(&self.home.dir) {
            Ok((free, total)) => self.feed(Event::Space { free, total }),
            Err(error) => debug!(%error, "the disk's room is not known"),
        }
    }

    /// Tells of damaged journals until somebody has taken them away.
    fn look_at_kept(&mut self) {
        let kept = journal::kept_aside(&self.home.dir);
        let problems = kept.iter().map(|path| {
            let path = path.display();
            format!("the agent's journal was damaged; what it said is in `{path}`")
        });
        let problems = problems.collect();
        self.feed(Event::Problems(problems));
    }

    fn take_in(&mut self, happening: Happening) {
        match happening {
            Happening::Core(event) => {
                if let Event::Frame { frame, .. } = &event
                    && let ToAgent::Welcome(welcome) = frame.as_ref()
                {
                    self.learn_centers(&welcome.centers);
                }
                if let Event::LinkDown { link } = &event {
                    self.links.remove(link);
                }
                self.feed(event);
            }
            Happening::Linked {
                link,
                sender,
                welcome,
                hello_sent,
            } => self.linked(link, sender, welcome, hello_sent),
            Happening::KeeperFound { number, link, open } if number == self.keeper_number => {
                self.keeper = Some(link);
                self.keepers.found();
                self.feed(Event::KeeperUp);
                drop(open);
            }
            Happening::KeeperMissing { number, reason } if number == self.keeper_number => {
                self.keepers.missing(&reason);
                self.lose_keeper(reason);
            }
            Happening::Keeper { number, event } if number == self.keeper_number => match event {
                LinkEvent::Event(event) => self.keeper_says(event),
                LinkEvent::Closed => self.lose_keeper("it ended, or has another agent".to_owned()),
            },
            // Of a try that is over.
            Happening::KeeperFound { .. }
            | Happening::KeeperMissing { .. }
            | Happening::Keeper { .. } => {}
        }
    }

    fn linked(
        &mut self,
        link: LinkId,
        sender: LinkSender<FromAgent>,
        welcome: Box<Welcome>,
        hello_sent: BootMs,
    ) {
        self.links.insert(link, sender);
        self.learn_centers(&welcome.centers);
        if let Some(name) = &welcome.agent
            && *name != self.home.name
        {
            info!(old = %self.home.name, new = %name, "the center gave the agent another name");
            if let Err(error) = self.home.rename(name.clone()) {
                error!(%error, "the new name could not be stored");
            }
        }
        self.feed(Event::LinkUp {
            link,
            welcome,
            hello_sent,
        });
    }

    /// Centers that were not known are kept, and dialled from here on; not where the settings name the centers, or
    /// where centers dial.
    fn learn_centers(&mut self, told: &[String]) {
        let Some(all) = with_told(&self.centers, told) else {
            return;
        };
        if self.centers_are_set {
            return;
        }
        info!(centers = all.join(" "), "the fleet has more centers");
        if let Err(error) = store_centers(&self.home.dir, &all) {
            error!(%error, "the centers' addresses could not be stored");
        }
        let new = all.get(self.centers.len()..).unwrap_or_default().to_vec();
        self.centers = all;
        if let Err(error) = self.sessions.dial_all(&new) {
            error!(%error, "the new centers cannot be dialled");
        }
    }

    fn keeper_says(&mut self, event: Box<wire::Event>) {
        if let wire::Event::Hello {
            protocol, version, ..
        } = event.as_ref()
            && *protocol != KEEPER_PROTOCOL
        {
            warn!(
                protocol,
                version,
                "the keeper speaks another protocol; restart it with `ucron-keeper stop --leave`"
            );
        }
        if matches!(*event, wire::Event::Ended { .. }) {
            failpoint::reach(Point::AgentEndHeard);
        }
        self.feed(Event::Keeper(event));
    }

    fn lose_keeper(&mut self, reason: String) {
        self.keeper = None;
        self.feed(Event::KeeperDown { reason });
        self.keeper_number = self.keepers.try_once(&self.home.name);
    }

    fn feed(&mut self, event: Event) {
        if matches!(event, Event::NotWritten { .. }) {
            self.writer.heard_of_failure();
        }
        let now = Now {
            boot: BootMs(clock::boot_ms()),
            wall: clock::now(),
        };
        for effect in self.core.handle(now, event) {
            self.carry_out(effect);
        }
        self.sessions.set_epoch(self.core.epoch());
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Journal {
                ticket,
                records,
                sync,
            } => self.writer.append(ticket, records, sync),
            Effect::Compact(records) => self.writer.rewrite(records),
            Effect::Send { link, frame } => self.send(link, &frame),
            Effect::CloseLink { link, error } => self.close_link(link, error),
            Effect::Keeper(command) => self.tell_keeper(&command),
            Effect::WakeAt(at) => self.set_alarm(at),
            Effect::Warn(text) => warn!("{text}"),
        }
    }

    fn send(&mut self, link: LinkId, frame: &FromAgent) {
        let Some(sender) = self.links.get(&link) else {
            return;
        };
        match sender.try_send(frame) {
            Ok(()) if has_end(frame) => failpoint::reach(Point::AgentReportSent),
            Ok(()) => {}
            Err(SendFault::Message(fault)) => error!(%fault, "a message to the center is dropped"),
            // Its reader tells the end.
            Err(fault) => debug!(%fault, "not sent"),
        }
    }

    fn close_link(&mut self, link: LinkId, error: ErrorFrame) {
        if let Some(sender) = self.links.remove(&link) {
            warn!(reason = error.message, "the agent closes a link");
            sender.close(Some(error));
        }
    }

    fn tell_keeper(&mut self, command: &wire::Command) {
        let is_start = matches!(command, wire::Command::Start(_));
        if is_start {
            failpoint::reach(Point::AgentRunDue);
        }
        if let Some(keeper) = &self.keeper
            && let Err(error) = keeper.send(command)
        {
            // Its reader tells the end; what was not heard is told again at the next connect.
            debug!(%error, "not told to the keeper");
        }
        if is_start {
            failpoint::reach(Point::AgentStartTold);
        }
    }

    fn set_alarm(&mut self, at: Option<BootMs>) {
        if let Err(error) = self.alarm.set(at.map(|at| Duration::from_millis(at.0))) {
            error!(%error, "the timer cannot be set; runs fire late");
        }
    }

    /// Good-bye to the centers; everything decided so far is written. Keeper and processes stay.
    async fn close(mut self) {
        for sender in self.links.values() {
            sender.close(Some(ErrorFrame {
                code: LinkError::Closing,
                message: "the agent shuts down; its keeper and processes stay".to_owned(),
            }));
        }
        self.keeper = None;
        self.workers.drain(DRAIN).await;
        self.writer.finish();
        info!("the agent ends; keeper and processes stay");
    }
}

fn has_end(frame: &FromAgent) -> bool {
    let is_end = |event: &RunEvent| matches!(event, RunEvent::Ended { .. });
    matches!(frame, FromAgent::Report(report) if report.events.iter().any(is_end))
}

fn start_writer(
    journal: crate::exec::journal::Journal<super::record::Record>,
    tell: UnboundedSender<Happening>,
) -> Result<Writer, AgentError> {
    let told = move |event| {
        // Where the loop is gone nobody is left to tell.
        let _ = tell.send(Happening::Core(event));
    };
    Writer::start(journal, told).map_err(AgentError::system("start the journal's thread"))
}
