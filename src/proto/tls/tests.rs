//! Who gets in, who does not, and what each side reads about it: TLS over an in-memory connection.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::handshake::{Accepted, Dialled, accept, connect};
use super::super::link::LinkFault;
use super::super::testing::Fleet;
use super::*;

const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct FixedClock(u64);

impl TimeProvider for FixedClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

fn at(seconds: u64) -> Arc<dyn TimeProvider> {
    Arc::new(FixedClock(seconds))
}

type Ends = (
    Result<Accepted<DuplexStream>, LinkFault>,
    Result<Dialled<DuplexStream>, LinkFault>,
);

async fn meet(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Ends {
    let (near, far) = duplex(64 * 1024);
    let accepting = accept(near, &server, LIMIT);
    // TLS 1.3 lets a client finish before it hears whether its certificate is taken: it reads one byte more.
    let connecting = async {
        let mut dialled = connect(far, &client, LIMIT).await?;
        let read = dialled.stream.read_u8().await;
        read.map_err(|error| LinkFault::of_io("read", error))?;
        Ok(dialled)
    };
    let accepting = async {
        let mut accepted = accepting.await?;
        let written = accepted.stream.write_all(b"!").await;
        written.map_err(|error| LinkFault::of_io("write", error))?;
        Ok(accepted)
    };
    tokio::join!(accepting, connecting)
}

async fn check_refused(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    server_reads: &str,
    client_reads: &str,
) {
    let (accepted, dialled) = meet(server, client).await;
    let text = accepted.map(|a| a.peer).unwrap_err().to_string();
    assert!(text.contains(server_reads), "the server reads: {text}");
    let text = dialled.map(|d| d.peer).unwrap_err().to_string();
    assert!(text.contains(client_reads), "the client reads: {text}");
}

fn server(own: &Identity) -> Arc<ServerConfig> {
    server_config_at(own, at(NOW)).unwrap()
}

fn client(own: &Identity) -> Arc<ClientConfig> {
    client_config_at(own, at(NOW)).unwrap()
}

#[tokio::test]
async fn members_of_one_fleet_meet_and_know_each_other() {
    let fleet = Fleet::new("f1");
    let center = fleet.member(PeerRole::Center, "c1");
    for role in [PeerRole::Agent, PeerRole::Operator] {
        let member = fleet.member(role, "m");
        let (accepted, dialled) = meet(server(&center), client(&member)).await;
        assert_eq!(accepted.unwrap().peer.as_ref(), Some(member.peer()));
        assert_eq!(&dialled.unwrap().peer, center.peer());
    }
    let agent = fleet.member(PeerRole::Agent, "a1");
    let (accepted, dialled) = meet(server(&agent), client(&center)).await;
    assert_eq!(accepted.unwrap().peer.as_ref(), Some(center.peer()));
    assert_eq!(&dialled.unwrap().peer, agent.peer());
}

#[tokio::test]
async fn a_stranger_reaches_a_center_by_its_pin_and_has_no_identity() {
    let fleet = Fleet::new("f1");
    let center = fleet.member(PeerRole::Center, "c1");
    let stranger = join_config_at(fleet.pin(), at(NOW)).unwrap();
    let (accepted, dialled) = meet(server(&center), stranger).await;
    assert_eq!(accepted.unwrap().peer, None);
    let dialled = dialled.unwrap();
    let shown = presented(dialled.stream.get_ref().1, fleet.pin());
    assert_eq!(shown, Some(center.authority().unwrap()));
}

#[tokio::test]
async fn a_wrong_pin_is_told_before_anything_is_said() {
    let fleet = Fleet::new("f1");
    let center = fleet.member(PeerRole::Center, "c1");
    let other = Fleet::new("f2").pin();
    let stranger = join_config_at(other, at(NOW)).unwrap();
    check_refused(server(&center), stranger, "", "fingerprint").await;
}

#[tokio::test]
async fn a_pinned_certificate_that_did_not_sign_the_center_proves_nothing() {
    let (ours, evil) = (Fleet::new("f1"), Fleet::new("f1"));
    let member = evil.member(PeerRole::Center, "c1");
    let real = ours.member(PeerRole::Center, "c1");
    let mut chain = member.chain().unwrap();
    chain.push(real.authority().unwrap());
    let forged = ServerConfig::builder_with_details(provider(), at(NOW))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, member.key())
        .unwrap();
    let stranger = join_config_at(ours.pin(), at(NOW)).unwrap();
    check_refused(Arc::new(forged), stranger, "", "not signed").await;
}

#[tokio::test]
async fn another_authority_is_refused_on_either_side() {
    let (ours, theirs) = (Fleet::new("f1"), Fleet::new("f1"));
    let center = ours.member(PeerRole::Center, "c1");
    let agent = theirs.member(PeerRole::Agent, "a1");
    check_refused(server(&center), client(&agent), "", "not signed").await;

    // The agent trusts the center all the same: only the center is left to refuse.
    let mut trusting = ClientConfig::builder_with_details(provider(), at(NOW))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots(center.authority().unwrap()).unwrap())
        .with_client_auth_cert(agent.chain().unwrap(), agent.key())
        .unwrap();
    let mut dangerous = trusting.dangerous();
    dangerous.set_certificate_verifier(Arc::new(HostVerifier {
        trust: Trust::Authority(roots(center.authority().unwrap()).unwrap()),
        wanted: Wanted::of(&center, &[PeerRole::Center]),
        provider: provider(),
    }));
    let trusting = Arc::new(trusting);
    check_refused(server(&center), trusting, "not signed", "does not take").await;
}

#[tokio::test]
async fn another_fleet_or_role_is_refused_by_name() {
    let fleet = Fleet::new("f1");
    let center = fleet.member(PeerRole::Center, "c1");
    let agent = fleet.member(PeerRole::Agent, "a1");
    let operator = fleet.member(PeerRole::Operator, "o1");
    let other = fleet.renamed("f2");
    let stray = other.member(PeerRole::Center, "c1");
    check_refused(server(&stray), client(&agent), "", "of fleet `f2`").await;
    check_refused(server(&agent), client(&operator), "", "is agent, wanted").await;
    let lying = other.member(PeerRole::Agent, "a1");
    check_refused(server(&center), client(&lying), "", "of fleet `f1`").await;
    check_refused(
        server(&center),
        client(&center),
        "",
        "is center, wanted is agent",
    )
    .await;
}

#[tokio::test]
async fn a_center_takes_no_center_and_a_client_no_server_role() {
    let fleet = Fleet::new("f1");
    let center = fleet.member(PeerRole::Center, "c1");
    let second = fleet.member(PeerRole::Center, "c2");
    let lenient = HostVerifier {
        trust: Trust::Authority(roots(center.authority().unwrap()).unwrap()),
        wanted: Wanted::of(&center, &[PeerRole::Center]),
        provider: provider(),
    };
    let dialler = dialer(at(NOW), lenient).unwrap();
    let dialler = dialler
        .with_client_auth_cert(second.chain().unwrap(), second.key())
        .unwrap();
    check_refused(
        server(&center),
        Arc::new(dialler),
        "is center, wanted is agent or operator",
        "does not take",
    )
    .await;

    // An operator's certificate says that it serves nobody, whatever its name is.
    let posing = fleet.member_with(PeerRole::Center, "c1", |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let agent = fleet.member(PeerRole::Agent, "a1");
    check_refused(server(&posing), client(&agent), "", "for this use").await;
}

#[tokio::test]
async fn an_agent_that_waits_wants_a_certificate() {
    let fleet = Fleet::new("f1");
    let agent = fleet.member(PeerRole::Agent, "a1");
    let mut stranger = HostVerifier {
        trust: Trust::Pin(fleet.pin()),
        wanted: Wanted::of(&agent, &[PeerRole::Agent]),
        provider: provider(),
    };
    stranger.wanted.fleet = None;
    let stranger = dialer(at(NOW), stranger).unwrap().with_no_client_auth();
    check_refused(
        server(&agent),
        Arc::new(stranger),
        "does not name",
        "does not take",
    )
    .await;
}

#[tokio::test]
async fn a_host_that_waits_to_join_is_known_by_its_key_and_takes_its_own_center_only() {
    let fleet = Fleet::new("f1");
    let center = fleet.member(PeerRole::Center, "c1");
    let key = PrivateKey::make().unwrap();
    let waiting = |pin| wait_config(&key, key.own_certificate().unwrap(), pin).unwrap();
    let dial = |own: &Identity, key| add_config(own, key).unwrap();
    let known = key.fingerprint();
    let (near, far) = duplex(64 * 1024);
    let (server, client) = (waiting(fleet.pin()), dial(&center, known));
    let (accepted, secured) = tokio::join!(accept(near, &server, LIMIT), async {
        let connector = tokio_rustls::TlsConnector::from(client);
        connector.connect(any_name(), far).await
    });
    let accepted = accepted.unwrap();
    assert_eq!(accepted.peer.as_ref(), Some(center.peer()));
    let shown = presented(accepted.stream.get_ref().1, fleet.pin());
    assert_eq!(shown, Some(center.authority().unwrap()));
    secured.unwrap();

    let wrong = dial(&center, fleet.pin());
    check_refused(waiting(fleet.pin()), wrong, "", "does not have the key").await;
    let refuses = async |own: &Identity, pin, reads| {
        let (near, far) = duplex(64 * 1024);
        let (server, client) = (waiting(pin), dial(own, known));
        let (accepted, _) = tokio::join!(accept(near, &server, LIMIT), async {
            let connector = tokio_rustls::TlsConnector::from(client);
            connector.connect(any_name(), far).await
        });
        let text = accepted.map(|a| a.peer).unwrap_err().to_string();
        assert!(text.contains(reads), "{text}");
    };
    let other = Fleet::new("f1");
    refuses(&center, other.pin(), "none of its certificates").await;
    let operator = fleet.member(PeerRole::Operator, "o1");
    refuses(&operator, fleet.pin(), "is operator, wanted is center").await;
    let stranger = other.member(PeerRole::Center, "c1");
    refuses(&stranger, fleet.pin(), "none of its certificates").await;
}

#[tokio::test]
async fn a_clock_outside_the_life_is_told_with_both_times() {
    let fleet = Fleet::new("f1");
    let center = fleet.member(PeerRole::Center, "c1");
    let agent = fleet.member(PeerRole::Agent, "a1");
    let late = client_config_at(&agent, at(4_200_000_000)).unwrap();
    let reads = "good until 2100-01-01T00:00:00.000Z, and this host's clock says 2103-02-04";
    check_refused(server(&center), late, "clock", reads).await;
    let early = client_config_at(&agent, at(1_000_000_000)).unwrap();
    let reads = "good from 2020-01-01T00:00:00.000Z, and this host's clock says 2001-09-09";
    check_refused(server(&center), early, "clock", reads).await;

    let ahead = server_config_at(&center, at(4_200_000_000)).unwrap();
    check_refused(ahead, client(&agent), "good until 2100-01-01", "clock").await;
}

#[test]
fn a_life_is_checked_before_dialling() {
    let fleet = Fleet::new("f1");
    let peer = fleet.member(PeerRole::Agent, "a1").peer().clone();
    assert_eq!(check_life(&peer, peer.not_before), Ok(()));
    assert!(check_life(&peer, UnixMs(0)).is_err());
    assert!(check_life(&peer, UnixMs(i64::MAX)).is_err());
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_dropped_in_time() {
    let fleet = Fleet::new("f1");
    let center = fleet.member(PeerRole::Center, "c1");
    let (near, _far) = duplex(1024);
    let fault = accept(near, &server(&center), Duration::from_millis(20)).await;
    assert!(matches!(fault.unwrap_err(), LinkFault::Timeout("TLS")));
}
