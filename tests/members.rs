//! The fleet's real authority and the links together: what `init`, `join` and a connect do, without the programs.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::time::Duration;

use tokio::net::TcpListener;
use ucron::auth::{Authority, make_token, same_token};
use ucron::clock;
use ucron::model::{Fingerprint, FleetId, PeerRole, PeerUri, Token, UnixMs};
use ucron::proto::agent::{FromAgent, ToAgent};
use ucron::proto::handshake::{
    FIRST_LIMIT, accept, dial, first_hello, first_join, hello, say_hello,
};
use ucron::proto::hello::{AgentHello, Welcome};
use ucron::proto::identity::{Identity, PrivateKey};
use ucron::proto::join::{FromJoiner, Joined, ToJoiner, join};
use ucron::proto::link::{Bounds, Link, LinkFault};
use ucron::proto::tls::{TlsError, client_config, server_config};

struct Center {
    authority: Authority,
    fleet: FleetId,
    listener: TcpListener,
    address: String,
    _home: tempfile::TempDir,
}

impl Center {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let fleet: FleetId = "f1".parse().unwrap();
        let dir = home.path().join("ca");
        Authority::create(&dir, &fleet, clock::now(), None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            authority: Authority::load(&dir, None).unwrap(),
            fleet,
            address: listener.local_addr().unwrap().to_string(),
            listener,
            _home: home,
        }
    }

    fn uri(&self, role: PeerRole, id: &str) -> PeerUri {
        PeerUri {
            fleet: self.fleet.clone(),
            role,
            id: id.to_owned(),
        }
    }

    fn member(&self, role: PeerRole, id: &str, now: UnixMs) -> Identity {
        let key = PrivateKey::make().unwrap();
        let request = key.request().unwrap();
        let issued = self.authority.issue(&request, &self.uri(role, id), now);
        let issued = issued.unwrap();
        let identity = Identity::new(key, &issued.certificate, self.authority.certificate());
        let identity = identity.unwrap();
        assert_eq!(identity.peer().key, issued.key);
        identity
    }

    /// Answers one join as a center does; gives the fingerprint of the key that joined.
    async fn take_join(&self, own: &Identity, wanted: &Token) -> Fingerprint {
        let config = server_config(own).unwrap();
        let (tcp, _) = self.listener.accept().await.unwrap();
        let accepted = accept(tcp, &config, FIRST_LIMIT).await.unwrap();
        assert_eq!(accepted.peer, None);
        let link = Link::<ToJoiner, FromJoiner>::new(accepted.stream, Bounds::default());
        let (mut link, join) = first_join(link, accepted.deadline).await.unwrap();
        assert!(same_token(
            &Token::parse(&join.token).unwrap(),
            &wanted.hash()
        ));
        let subject = self.uri(join.role, "01a");
        let issued = self.authority.issue(&join.request, &subject, clock::now());
        let issued = issued.unwrap();
        let joined = Joined {
            fleet: self.fleet.to_string(),
            name: "host-a".to_owned(),
            certificate: issued.certificate,
            centers: vec![self.address.clone()],
            authority: None,
        };
        link.send(&ToJoiner::Joined(joined)).await.unwrap();
        link.close(None).await;
        issued.key
    }
}

#[tokio::test]
async fn a_host_joins_and_its_agent_is_known_at_the_next_connect() {
    let center = Center::new().await;
    let own = center.member(PeerRole::Center, "c1", clock::now());
    let token = make_token(PeerRole::Agent, center.authority.pin()).unwrap();
    let (key, got) = tokio::join!(
        center.take_join(&own, &token),
        join(&center.address, &token, PeerRole::Agent, None)
    );
    let (identity, joined) = got.unwrap();
    assert_eq!(joined.centers.join(","), center.address);

    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("agent");
    identity.store(&dir).unwrap();
    let identity = Identity::load(&dir).unwrap();
    let server = server_config(&own).unwrap();
    let client = client_config(&identity).unwrap();
    let centers = async {
        let (tcp, _) = center.listener.accept().await.unwrap();
        let accepted = accept(tcp, &server, FIRST_LIMIT).await.unwrap();
        let peer = accepted.peer.unwrap();
        assert_eq!(peer.key, key);
        assert_eq!(peer.uri, center.uri(PeerRole::Agent, "01a"));
        let link = Link::<ToAgent, FromAgent>::new(accepted.stream, Bounds::default());
        let (mut link, _, protocol) = first_hello(link, &peer, accepted.deadline).await.unwrap();
        let welcome = Welcome {
            protocol,
            version: "0".to_owned(),
            fleet: center.fleet.to_string(),
            agent: Some("host-a".parse().unwrap()),
            epoch: ucron::model::Epoch(1),
            now: clock::now(),
            centers: Vec::new(),
        };
        link.send(&ToAgent::Welcome(welcome)).await.unwrap();
        link.close(None).await;
    };
    let agents = async {
        let dialled = dial(&center.address, &client).await.unwrap();
        let mut link = Link::<FromAgent, ToAgent>::new(dialled.stream, Bounds::default());
        let said = AgentHello {
            boot_id: clock::boot_id().unwrap(),
            incarnation: ucron::model::Incarnation(1),
            epoch: ucron::model::Epoch(0),
            up_ms: clock::boot_ms(),
        };
        let said = hello(PeerRole::Agent, Some(said));
        let welcome = say_hello(&mut link, said, dialled.deadline).await.unwrap();
        assert_eq!(welcome.agent.unwrap().as_str(), "host-a");
    };
    tokio::join!(centers, agents);
}

#[tokio::test]
async fn a_certificate_from_before_its_life_is_told_with_both_times() {
    let center = Center::new().await;
    let later = clock::now().plus(Duration::from_hours(48));
    let server = server_config(&center.member(PeerRole::Center, "c1", later)).unwrap();
    let agent = center.member(PeerRole::Agent, "a", clock::now());
    let client = client_config(&agent).unwrap();
    let accepting = async {
        let (tcp, _) = center.listener.accept().await.unwrap();
        assert!(accept(tcp, &server, FIRST_LIMIT).await.is_err());
    };
    let ((), dialled) = tokio::join!(accepting, dial(&center.address, &client));
    let fault = dialled.map(|d| d.peer).unwrap_err();
    assert!(
        matches!(fault, LinkFault::Tls(TlsError::NotYet { .. })),
        "{fault}"
    );
}
