use super::*;
use crate::cli::fake::{self, Center, Reply};
use crate::proto::request::{Events, RefusalCode, Status, TaskStop};

fn stop() -> Request {
    Request::TaskStop(TaskStop {
        task: "web/probe".to_owned(),
        finish: false,
    })
}

fn status() -> Request {
    Request::Status(Status {})
}

fn good() -> Reply {
    Reply::Answer(Answer::Status(Box::new(fake::status())))
}

#[tokio::test]
async fn several_questions_are_under_way_over_one_link() {
    let center = Center::new(|_, _| good());
    let session = center.session().await.unwrap();
    let pending: Vec<_> = (0..40).map(|_| session.begin(status())).collect();
    for pending in pending {
        pending.answer().await.unwrap();
    }
    let ids: Vec<u64> = center
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|frame| frame.id)
        .collect();
    assert_eq!(ids, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_change_is_repeated_once_with_its_id_when_the_link_broke() {
    let center = Center::new(|number, _| match number {
        0 => Reply::Hang,
        _ => Reply::Answer(Answer::Done),
    });
    let session = center.session().await.unwrap();
    assert_eq!(session.ask(stop()).await.unwrap(), Answer::Done);
    let asked = center.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].request_id.is_some());
    assert_eq!(asked[0], asked[1]);
}

#[tokio::test]
async fn a_link_that_breaks_again_is_told() {
    let center = Center::new(|_, _| Reply::Hang);
    let session = center.session().await.unwrap();
    let fault = session.ask(stop()).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::LinkBroken);
    assert_eq!(center.asked.lock().unwrap().len(), 2);
    // The session goes on: the next question dials anew.
    assert!(session.ask(status()).await.is_err());
    assert_eq!(center.asked.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_refusal_keeps_its_code() {
    let center = Center::new(|_, _| Reply::Refuse(RefusalCode::Conflict, "taken"));
    let session = center.session().await.unwrap();
    let fault = session.ask(stop()).await.unwrap_err();
    assert_eq!(
        (fault.code, fault.message.as_str()),
        (FaultCode::Conflict, "taken")
    );
}

#[tokio::test]
async fn a_stream_gives_its_items_and_ends() {
    let items = || {
        (0..500)
            .map(|_| Item::Event(Box::new(fake::event())))
            .collect()
    };
    let center = Center::new(move |_, _| Reply::Items(items()));
    let session = center.session().await.unwrap();
    let mut stream = session.stream(Request::Events(Events::default()));
    let mut count = 0;
    while let Some(item) = stream.next().await {
        item.unwrap();
        count += 1;
    }
    assert_eq!(count, 500);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_stream_ends_with_an_error_when_the_link_breaks() {
    let center = Center::new(|number, _| {
        if number == 0 {
            Reply::Silence
        } else {
            Reply::Hang
        }
    });
    let session = center.session().await.unwrap();
    let mut stream = session.stream(Request::Events(Events::default()));
    assert!(session.ask(status()).await.is_err());
    let fault = stream.next().await.unwrap().unwrap_err();
    assert_eq!(fault.code, FaultCode::LinkBroken);
    assert!(stream.next().await.is_none());
}

struct Nowhere(Vec<String>);

impl Dial for Nowhere {
    fn addresses(&self) -> &[String] {
        &self.0
    }

    fn open(&self, address: &str) -> Opening {
        if address == "deaf:1" {
            return Box::pin(std::future::pending());
        }
        Box::pin(async { Err(crate::proto::link::LinkFault::Closed) })
    }
}

#[tokio::test]
async fn no_center_is_told_with_all_that_was_tried() {
    let nowhere = Nowhere(vec!["deaf:1".to_owned(), "shut:2".to_owned()]);
    let fault = Session::connect(nowhere, Duration::from_millis(50), &Workers::new())
        .await
        .unwrap_err();
    assert_eq!(fault.code, FaultCode::NoCenter);
    assert_eq!(
        fault.message,
        "no center reached within 50ms: deaf:1: no answer; shut:2: the connection ended without an answer"
    );
}
