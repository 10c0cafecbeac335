//! Links over an in-memory connection, with the handshake and joining on top.

use tokio::io::{DuplexStream, duplex};

use super::super::client::{Cancel, Credit, FromClient, ToClient};
use super::super::handshake::{OURS, accept, connect, first_hello, first_join, hello, say_hello};
use super::super::hello::{LinkError, PeerRole, Welcome};
use super::super::identity::PeerIdentity;
use super::super::join::{FromJoiner, Join, Joined, ToJoiner, join};
use super::super::testing::Fleet;
use super::super::tls::{client_config, server_config};
use super::*;
use crate::model::{Epoch, Fingerprint, Token, UnixMs};

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(30);

type CenterEnd = Link<ToClient, FromClient>;
type ClientEnd = Link<FromClient, ToClient>;

fn bounds() -> Bounds {
    Bounds {
        max_frame: 1000,
        line: SOON,
        queue: 4000,
    }
}

/// For tests of what happens when time is over.
fn hasty() -> Bounds {
    Bounds {
        line: SHORT,
        ..bounds()
    }
}

fn center_and_wire() -> (CenterEnd, DuplexStream) {
    let (near, far) = duplex(1024);
    (Link::new(near, hasty()), far)
}

fn credit(id: u64) -> FromClient {
    FromClient::Credit(Credit { id, items: 1 })
}

async fn check_wire(sent: &[u8], close: bool, wanted: &str) {
    let (mut center, mut wire) = center_and_wire();
    wire.write_all(sent).await.unwrap();
    if close {
        wire.shutdown().await.unwrap();
    }
    let end = loop {
        match timeout(SOON, center.next())
            .await
            .expect("an answer in time")
        {
            Ok(Some(_)) => {}
            Ok(None) => break "end".to_owned(),
            Err(fault) => break fault.to_string(),
        }
    };
    let shown = String::from_utf8_lossy(sent);
    assert!(end.contains(wanted), "{shown}: {end}");
}

#[tokio::test]
async fn every_way_in_which_a_connection_ends_is_told() {
    let line = "{\"kind\":\"cancel\",\"id\":1}";
    check_wire(b"", true, "end").await;
    check_wire(format!("{line}\n{line}\r\n").as_bytes(), true, "end").await;
    check_wire(format!("{line}\n{{\"k").as_bytes(), true, "within a frame").await;
    check_wire(line.as_bytes(), false, "begun and not ended").await;
    check_wire(
        format!("{line}\n{line}").as_bytes(),
        false,
        "begun and not ended",
    )
    .await;
    check_wire(b"hello\n", false, "not JSON").await;
    check_wire(&[b'x'; 1024], false, "longer than 1000").await;
    let told = b"{\"kind\":\"error\",\"code\":\"closing\",\"message\":\"by\\u001be\"}\n";
    check_wire(told, false, "closed the link: by\u{fffd}e").await;
}

#[tokio::test]
async fn a_line_that_drips_in_is_cut_off() {
    let (mut center, mut wire) = center_and_wire();
    let drip = async {
        let mut tick = tokio::time::interval(SHORT / 6);
        loop {
            tick.tick().await;
            if wire.write_all(b"{").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let read = tokio::select! {
        read = center.next() => read,
        () = drip => Ok(None),
    };
    assert!(matches!(read, Err(LinkFault::Timeout(_))), "{read:?}");
}

#[tokio::test]
async fn a_queue_keeps_order_and_says_its_last_word() {
    let (near, far) = duplex(64);
    let client: ClientEnd = Link::new(near, bounds());
    let mut center: CenterEnd = Link::new(far, bounds());
    let (sender, worker, mut reader) = client.split();
    for id in 0..20 {
        sender.try_send(&credit(id)).unwrap();
    }
    sender.close(Some(ErrorFrame {
        code: LinkError::Closing,
        message: "bye".to_owned(),
    }));
    let reading = async {
        for id in 0..20 {
            assert_eq!(center.next().await.unwrap(), Some(credit(id)));
        }
        assert!(matches!(center.next().await, Err(LinkFault::Told(_))));
    };
    timeout(SOON, async { tokio::join!(worker, reading) })
        .await
        .unwrap();
    assert!(sender.is_closed());
    assert_eq!(sender.waiting(), 0);
    assert!(matches!(
        sender.try_send(&credit(1)),
        Err(SendFault::Closed)
    ));
    assert!(matches!(reader.next().await, Ok(None)));
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_closed_as_slow() {
    let (near, _far) = duplex(64);
    let client: ClientEnd = Link::new(near, bounds());
    let (sender, worker, mut reader) = client.split();
    let mut sent = Ok(());
    while sent.is_ok() {
        sent = sender.try_send(&credit(1));
    }
    assert!(matches!(sent, Err(SendFault::Slow)));
    assert!(sender.waiting() < 4100);
    timeout(SOON, worker).await.unwrap();
    assert!(matches!(reader.next().await, Err(LinkFault::Slow)));
    assert!(matches!(sender.closed().await, Some(LinkFault::Slow)));
}

#[tokio::test]
async fn a_write_that_does_not_get_through_ends_the_link() {
    let (near, _far) = duplex(64);
    let client: ClientEnd = Link::new(near, hasty());
    let (sender, worker, mut reader) = client.split();
    for id in 0..10 {
        sender.try_send(&credit(id)).unwrap();
    }
    timeout(SOON, worker).await.unwrap();
    assert!(matches!(reader.next().await, Err(LinkFault::Slow)));
}

#[tokio::test]
async fn a_message_of_our_own_that_is_too_long_is_not_sent() {
    let (near, _far) = duplex(64);
    let center: CenterEnd = Link::new(near, bounds());
    let (sender, _worker, _reader) = center.split();
    let long = ToClient::Error(ErrorFrame {
        code: LinkError::Internal,
        message: "x".repeat(1000),
    });
    let sent = sender.try_send(&long);
    assert!(matches!(sent, Err(SendFault::Message(LinkFault::Own(_)))));
    assert!(!sender.is_closed());
}

#[tokio::test]
async fn the_link_is_shut_when_the_last_sender_is_dropped() {
    let (near, far) = duplex(64);
    let client: ClientEnd = Link::new(near, bounds());
    let mut center: CenterEnd = Link::new(far, bounds());
    let (sender, worker, _reader) = client.split();
    sender.clone().try_send(&credit(7)).unwrap();
    drop(sender);
    let reading = async {
        assert_eq!(center.next().await.unwrap(), Some(credit(7)));
        assert_eq!(center.next().await.unwrap(), None);
    };
    timeout(SOON, async { tokio::join!(worker, reading) })
        .await
        .unwrap();
}

fn welcome(protocol: u32) -> Welcome {
    Welcome {
        protocol,
        version: "0".to_owned(),
        fleet: "f1".to_owned(),
        agent: None,
        epoch: Epoch(1),
        now: UnixMs(0),
        centers: Vec::new(),
    }
}

fn operator(fleet: &Fleet) -> PeerIdentity {
    fleet.member(PeerRole::Operator, "ann").peer().clone()
}

/// Says `first` to a center that knows an operator; gives what either side makes of it.
async fn greet(first: FromClient) -> (Result<u32, String>, String) {
    let fleet = Fleet::new("f1");
    let peer = operator(&fleet);
    let (near, far) = duplex(4096);
    let mut client: ClientEnd = Link::new(near, Bounds::default());
    let center: CenterEnd = Link::new(far, Bounds::default());
    client.send(&first).await.unwrap();
    let deadline = Instant::now() + SOON;
    let answering = async {
        let answer = client.next().await;
        drop(client);
        answer.map_err(|fault| fault.to_string()).err()
    };
    let greeting = async {
        let greeted = first_hello(center, &peer, deadline).await;
        greeted.map(|(_, _, version)| version)
    };
    let (greeted, answer) = tokio::join!(greeting, answering);
    let greeted = greeted.map_err(|fault| fault.to_string());
    (greeted, answer.unwrap_or_default())
}

#[tokio::test]
async fn a_hello_that_is_wrong_is_answered_with_what_is_wrong() {
    let good = hello(PeerRole::Operator, None);
    assert_eq!(greet(FromClient::Hello(good.clone())).await.0, Ok(OURS.max));

    let mut newer = good.clone();
    (newer.protocol_min, newer.protocol_max) = (OURS.max + 5, OURS.max + 6);
    let (_, answer) = greet(FromClient::Hello(newer)).await;
    assert!(answer.contains("upgrade the center"), "{answer}");

    let mut posing = good.clone();
    posing.role = PeerRole::Center;
    let (_, answer) = greet(FromClient::Hello(posing)).await;
    assert!(answer.contains("not the certificate's"), "{answer}");

    let (fault, answer) = greet(FromClient::Cancel(Cancel { id: 1 })).await;
    assert!(fault.unwrap_err().contains("must be a hello"));
    assert!(answer.contains("must be a hello"), "{answer}");
}

#[tokio::test]
async fn a_welcome_in_a_protocol_that_is_not_spoken_is_refused() {
    let (near, far) = duplex(4096);
    let mut client: ClientEnd = Link::new(near, Bounds::default());
    let mut center: CenterEnd = Link::new(far, Bounds::default());
    center.send(&ToClient::Welcome(welcome(99))).await.unwrap();
    let said = hello(PeerRole::Operator, None);
    let fault = say_hello(&mut client, said, Instant::now() + SOON).await;
    assert!(matches!(fault, Err(LinkFault::Protocol(_))), "{fault:?}");
}

#[tokio::test]
async fn members_greet_each_other_over_tls() {
    let fleet = Fleet::new("f1");
    let server = server_config(&fleet.member(PeerRole::Center, "c1")).unwrap();
    let client = client_config(&fleet.member(PeerRole::Operator, "ann")).unwrap();
    let (near, far) = duplex(4096);
    let centers = async {
        let accepted = accept(near, &server, SOON).await.unwrap();
        let peer = accepted.peer.unwrap();
        let link: CenterEnd = Link::new(accepted.stream, Bounds::default());
        let (mut link, _, version) = first_hello(link, &peer, accepted.deadline).await.unwrap();
        link.send(&ToClient::Welcome(welcome(version)))
            .await
            .unwrap();
        link.close(None).await;
    };
    let clients = async {
        let dialled = connect(far, &client, SOON).await.unwrap();
        let mut link: ClientEnd = Link::new(dialled.stream, Bounds::default());
        let said = hello(PeerRole::Operator, None);
        let welcome = say_hello(&mut link, said, dialled.deadline).await.unwrap();
        assert_eq!(welcome.fleet, "f1");
        assert!(matches!(link.next().await, Ok(None)));
    };
    tokio::join!(centers, clients);
}

/// What a stranger reads that sends these bytes as its first.
async fn stranger(sent: &str) -> String {
    let (near, mut wire) = duplex(4096);
    let center = Link::<ToJoiner, FromJoiner>::new(near, hasty());
    wire.write_all(sent.as_bytes()).await.unwrap();
    let read = async {
        let mut answer = String::new();
        wire.read_to_string(&mut answer).await.unwrap();
        drop(wire);
        answer
    };
    let (joined, answer) = tokio::join!(first_join(center, Instant::now() + SOON), read);
    assert!(joined.is_err());
    answer
}

#[tokio::test]
async fn a_stranger_may_only_join_and_reads_nothing_of_what_it_sent() {
    for sent in [
        "{\"kind\":\"hello\",\"secret\":1}\n",
        "{\"kind\":\"secret\"}\n",
        "{\"kind\":\"join\",\"secret\":2}\n",
        "secret\n",
        "{\"kind\":\"secret",
    ] {
        let answer = stranger(sent).await;
        assert!(
            answer.starts_with("{\"kind\":\"error\",\"code\":"),
            "{sent}: {answer}"
        );
        assert!(
            answer.ends_with("\r\n") && !answer.contains("secret"),
            "{sent}: {answer}"
        );
    }
}

async fn center_signs(
    listener: &tokio::net::TcpListener,
    fleet: &Fleet,
    answer: impl FnOnce(Join) -> Joined,
) {
    let server = server_config(&fleet.member(PeerRole::Center, "c1")).unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let Ok(accepted) = accept(tcp, &server, SOON).await else {
        return;
    };
    assert_eq!(accepted.peer, None);
    let link = Link::new(accepted.stream, Bounds::default());
    let (mut link, join) = first_join(link, accepted.deadline).await.unwrap();
    link.send(&ToJoiner::Joined(answer(join))).await.unwrap();
    link.close(None).await;
}

fn joined(certificate: String) -> Joined {
    Joined {
        fleet: "f1".to_owned(),
        name: "a1".to_owned(),
        certificate,
        centers: Vec::new(),
        authority: None,
    }
}

#[tokio::test]
async fn joining_gives_an_identity_that_the_center_knows() {
    let fleet = Fleet::new("f1");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let token = Token::new(PeerRole::Agent, &[7; 32], fleet.pin());
    let signing = center_signs(&listener, &fleet, |join| {
        assert_eq!(Token::parse(&join.token), Ok(token.clone()));
        joined(fleet.sign(&join.request, join.role, "01a", |_| {}))
    });
    let joining = join(&address, &token, PeerRole::Agent, None);
    let ((), got) = tokio::join!(signing, joining);
    let (identity, _) = got.unwrap();
    assert_eq!(identity.uri().to_string(), "ucron://f1/agent/01a");

    let home = tempfile::tempdir().unwrap();
    identity.store(&home.path().join("a")).unwrap();
    server_config(&identity).unwrap();
}

#[tokio::test]
async fn joining_refuses_a_wrong_center_token_or_certificate() {
    let fleet = Fleet::new("f1");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let check = async |pin: Fingerprint, role: PeerRole, given: PeerRole, wanted: &str| {
        let token = Token::new(PeerRole::Agent, &[7; 32], pin);
        let signing = center_signs(&listener, &fleet, |join| {
            joined(fleet.sign(&join.request, given, "01a", |_| {}))
        });
        let fault = tokio::select! {
            got = join(&address, &token, role, None) => got.unwrap_err().to_string(),
            () = async { signing.await; std::future::pending().await } => String::new(),
        };
        assert!(fault.contains(wanted), "{fault}");
    };
    let (agent, operator) = (PeerRole::Agent, PeerRole::Operator);
    check(Fingerprint::of(b"x"), agent, agent, "fingerprint").await;
    check(
        fleet.pin(),
        operator,
        operator,
        "this token is for an agent",
    )
    .await;
    check(fleet.pin(), agent, operator, "another fleet or role").await;
}
