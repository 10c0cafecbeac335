//! The loop: waits for keys, news and signals, lets `update` decide, carries out its effects, draws.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_core::Stream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Options;
use super::link::{self, Sender};
use super::terminal::{self, Screen};
use super::watchdog::Watchdog;
use crate::cli;
use crate::cli::session::Session;
use crate::clock;
use crate::tui::state::{State, Ticket};
use crate::tui::update::{Effect, Input, update};
use crate::workers::{Worker, Workers};

/// Pause between two frames that no key asked for.
const FRAME: Duration = Duration::from_millis(100);
/// Ages on the screen change this often.
const TICK: Duration = Duration::from_secs(1);
/// News that wait for the screen; then the center waits.
const QUEUE: usize = 1_024;

/// What reaches the shell from its workers.
pub(super) enum News {
    /// Something for `update`.
    Input(Input),
    /// The session to use from now on.
    Session(Session),
    /// The terminal is gone.
    Gone,
}

/// A command line being carried out.
type Under = Pin<Box<dyn Future<Output = Input>>>;

/// What came next.
enum Next {
    Terminal(Option<io::Result<Event>>),
    News(Option<News>),
    Said(Input),
    Signal(u8),
    Tick,
    Frame,
}

struct Shell {
    state: State,
    screen: Screen,
    session: Session,
    news: Sender,
    workers: Workers,
    logs: BTreeMap<u64, Vec<Worker>>,
    events: Option<Worker>,
    command: Option<Under>,
    /// Set once it shall end.
    exit: Option<u8>,
    /// Whether something changed that is not drawn.
    is_stale: bool,
    drawn_at: Instant,
}

/// Runs until the operator leaves, a signal says so, or the terminal is gone; the exit code.
pub(super) async fn run(
    options: &Options,
    home: &Path,
    session: Session,
    workers: &Workers,
) -> io::Result<u8> {
    let (news, mut inbox) = mpsc::channel(QUEUE);
    let mut signals = Signals::new()?;
    let screen = Screen::open(options.view)?;
    let _watchdog = Watchdog::start(news.clone())?;
    let link = link::keep(
        home.to_owned(),
        options.timeout,
        session.clone(),
        news.clone(),
        workers.clone(),
    );
    let link = workers.spawn("link", link);
    let mut shell = Shell {
        state: State::new(screen.size()?, options.zone.clone()),
        screen,
        session,
        news,
        workers: workers.clone(),
        logs: BTreeMap::new(),
        events: None,
        command: None,
        exit: None,
        is_stale: true,
        drawn_at: Instant::now(),
    };
    let mut keys = EventStream::new();
    shell.draw()?;
    let exit = loop {
        let next = shell.next(&mut keys, &mut inbox, &mut signals).await;
        shell.take(next)?;
        // What waits already is taken before the next frame.
        while let Ok(news) = inbox.try_recv() {
            shell.take(Next::News(Some(news)))?;
        }
        if let Some(exit) = shell.exit {
            break exit;
        }
        // A worker that panicked ended alone; without it the screen would stand still and nobody would know why.
        if terminal::panics().is_some() {
            break super::PANICKED;
        }
    };
    link.abort();
    shell.close();
    Ok(exit)
}

impl Shell {
    async fn next(
        &mut self,
        keys: &mut EventStream,
        inbox: &mut mpsc::Receiver<News>,
        signals: &mut Signals,
    ) -> Next {
        let frame = self.drawn_at + FRAME;
        let is_stale = self.is_stale;
        tokio::select! {
            biased;
            exit = signals.next() => Next::Signal(exit),
            event = poll_fn(|context| Pin::new(&mut *keys).poll_next(context)) => Next::Terminal(event),
            () = tokio::time::sleep_until(frame), if is_stale => Next::Frame,
            news = inbox.recv() => Next::News(news),
            said = said(&mut self.command) => Next::Said(said),
            () = tokio::time::sleep(TICK) => Next::Tick,
        }
    }

    fn take(&mut self, next: Next) -> io::Result<()> {
        match next {
            Next::Signal(exit) => self.exit = Some(exit),
            Next::Terminal(Some(Ok(event))) => return self.typed(event),
            // Without a terminal there is nobody to go on for.
            Next::Terminal(Some(Err(_)) | None) | Next::News(Some(News::Gone)) => {
                self.exit = Some(129);
            }
            Next::News(Some(News::Session(session))) => {
                self.session = session;
                self.update(Input::Connected)?;
            }
            Next::News(Some(News::Input(input))) => self.update(input)?,
            Next::News(None) => {}
            Next::Said(input) => {
                self.command = None;
                self.update(input)?;
            }
            Next::Tick => self.update(Input::Tick)?,
            Next::Frame => return self.draw(),
        }
        Ok(())
    }

    /// What an operator does is seen at once.
    fn typed(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.update(Input::Key(key))?,
            Event::Paste(text) => self.update(Input::Paste(text))?,
            Event::Resize(width, height) => self.update(Input::Resize(width, height))?,
            _ => return Ok(()),
        }
        if self.exit.is_some() {
            return Ok(());
        }
        self.draw()
    }

    fn update(&mut self, input: Input) -> io::Result<()> {
        self.is_stale = true;
        let effects = update(&mut self.state, clock::now(), input);
        effects
            .into_iter()
            .try_for_each(|effect| self.carry_out(effect))
    }

    fn draw(&mut self) -> io::Result<()> {
        let drawn = self.screen.draw(&self.state, clock::now())?;
        if let Some(last_top) = drawn.last_top {
            self.state.settle(last_top);
        }
        self.is_stale = false;
        self.drawn_at = Instant::now();
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> io::Result<()> {
        match effect {
            Effect::Ask(ticket, request) => self.ask(ticket, *request),
            Effect::OpenLog(stream, read) => {
                let log = link::read_log(self.session.clone(), stream, *read, self.news.clone());
                let worker = self.workers.spawn("log", log);
                self.logs.entry(stream).or_default().push(worker);
            }
            Effect::CloseLog(stream) => {
                let workers = self.logs.remove(&stream).unwrap_or_default();
                workers.iter().for_each(Worker::abort);
            }
            Effect::OpenEvents(since) => {
                let events = link::follow_events(self.session.clone(), since, self.news.clone());
                let worker = self.workers.spawn("events", events);
                if let Some(before) = self.events.replace(worker) {
                    before.abort();
                }
            }
            Effect::Command(words) => self.command = Some(self.begin(words)),
            Effect::Abandon => self.command = None,
            Effect::Quit(exit) => self.exit = Some(exit),
            Effect::Suspend => {
                self.screen.suspend()?;
                let (width, height) = self.screen.size()?;
                return self.update(Input::Resize(width, height));
            }
            Effect::Redraw => self.screen.clear()?,
        }
        Ok(())
    }

    fn ask(&self, ticket: Ticket, request: crate::proto::request::Request) {
        let pending = self.session.begin(request);
        let news = self.news.clone();
        self.workers.spawn("ask", async move {
            let answer = Box::new(pending.answer().await);
            // Where nobody listens the dashboard is being left.
            let _ = news.send(News::Input(Input::Answer(ticket, answer))).await;
        });
    }

    fn begin(&self, words: Vec<String>) -> Under {
        let session = self.session.clone();
        let zone = self.state.zone.clone();
        let width = usize::from(self.state.size.0);
        Box::pin(async move {
            let title = format!(":{}", words.join(" "));
            let (lines, exit) = cli::within(session, words, width, &zone).await;
            Input::Said(title, lines, exit)
        })
    }

    fn close(&mut self) {
        let logs = std::mem::take(&mut self.logs);
        logs.values().flatten().for_each(Worker::abort);
        if let Some(events) = &self.events {
            events.abort();
        }
    }
}

/// What the command under way says once it is done; never where there is none.
async fn said(command: &mut Option<Under>) -> Input {
    match command {
        Some(command) => command.await,
        None => std::future::pending().await,
    }
}

/// The signals that end the dashboard.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The exit code that the next one asks for.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            _ = self.hang_up.recv() => 129,
        }
    }
}
