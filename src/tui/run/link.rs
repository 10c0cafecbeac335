//! The link to the center: the watch, and a new session whenever the old one breaks. An attempt that fails is
//! told with its number; the next follows after 0.1 s, doubling to 2 s.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use super::shell::News;
use crate::cli::fault::Fault;
use crate::cli::home;
use crate::cli::session::{Items, Session};
use crate::proto::request::{Events, Item, LogRead, Request, Status, Watch};
use crate::tui::update::Input;
use crate::workers::Workers;

/// The first pause before dialling again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A link on which nothing came for so long is asked whether it still is one.
const SILENCE: Duration = Duration::from_secs(15);
/// How long the answer to that may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Where news go; they wait when the screen is slow, and so does the center.
pub(super) type Sender = mpsc::Sender<News>;

/// One attempt to reach a center.
pub(super) async fn connect(
    home: &Path,
    timeout: Duration,
    workers: &Workers,
) -> Result<Session, Fault> {
    let centers = home::load_dir(home)?;
    Session::connect(centers, timeout, workers).await
}

/// Watches over this session, then over the next, until nobody listens.
pub(super) async fn keep(
    home: PathBuf,
    timeout: Duration,
    first: Session,
    news: Sender,
    workers: Workers,
) {
    let mut session = first;
    loop {
        if news.send(News::Session(session.clone())).await.is_err() {
            return;
        }
        let why = watch(&session, &news).await;
        drop(session);
        match again(&home, timeout, why, &news, &workers).await {
            Some(next) => session = next,
            None => return,
        }
    }
}

/// How long an attempt may take: the first ones are short, so that their number is seen to grow.
fn patience(attempt: u32, timeout: Duration) -> Duration {
    Duration::from_secs(u64::from(attempt)).min(timeout)
}

/// Dials until a center is reached; none where nobody listens any more.
async fn again(
    home: &Path,
    timeout: Duration,
    mut why: String,
    news: &Sender,
    workers: &Workers,
) -> Option<Session> {
    let mut pause = FIRST_PAUSE;
    for attempt in 1_u32.. {
        let lost = News::Input(Input::Lost(attempt, why));
        news.send(lost).await.ok()?;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        match connect(home, patience(attempt, timeout), workers).await {
            Ok(session) => return Some(session),
            Err(fault) => why = fault.message,
        }
    }
    None
}

/// Passes on what changes; returns why it does not go on.
async fn watch(session: &Session, news: &Sender) -> String {
    let mut items = session.stream(Request::Watch(Watch {}));
    loop {
        let Ok(item) = tokio::time::timeout(SILENCE, items.next()).await else {
            match is_alive(session).await {
                Ok(()) => continue,
                Err(why) => return why,
            }
        };
        let input = match item {
            Some(Ok(Item::Change(change))) => Input::Change(change),
            Some(Ok(_)) => continue,
            Some(Err(fault)) => return fault.message,
            None => return "the center ended the watch".to_owned(),
        };
        if news.send(News::Input(input)).await.is_err() {
            return String::new();
        }
    }
}

/// Whether anybody answers at the other end.
async fn is_alive(session: &Session) -> Result<(), String> {
    let asked = session.ask(Request::Status(Status {}));
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(fault)) => Err(fault.message),
        Err(_) => Err("the center does not answer".to_owned()),
    }
}

/// Reads output and passes it on.
pub(super) async fn read_log(session: Session, stream: u64, read: LogRead, news: Sender) {
    let mut items = session.stream(Request::LogRead(read));
    let over = loop {
        match items.next().await {
            Some(Ok(Item::Log(chunk))) => {
                if news
                    .send(News::Input(Input::Log(stream, chunk)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(fault)) => break Some(fault),
            None => break None,
        }
    };
    // Where nobody listens the dashboard is being left.
    let _ = news.send(News::Input(Input::LogOver(stream, over))).await;
}

/// Follows the events and passes them on.
pub(super) async fn follow_events(session: Session, since: String, news: Sender) {
    let since = Some(since);
    let follow = true;
    let mut items: Items = session.stream(Request::Events(Events { since, follow }));
    while let Some(Ok(item)) = items.next().await {
        if let Item::Event(event) = item
            && news.send(News::Input(Input::Event(event))).await.is_err()
        {
            return;
        }
    }
    let _ = news.send(News::Input(Input::EventsOver)).await;
}
