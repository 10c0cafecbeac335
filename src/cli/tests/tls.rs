//! The way from a client home over TLS to a center, and what keeps it from being gone.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::cli::args::{self, Parsed};
use crate::cli::fake::{self, Center, Reply};
use crate::cli::fault::{Fault, FaultCode};
use crate::cli::home;
use crate::cli::session::Session;
use crate::model::PeerRole;
use crate::proto::handshake::{FIRST_LIMIT, accept};
use crate::proto::identity::store_centers;
use crate::proto::request::{Answer, Request, Status};
use crate::proto::testing::Fleet;
use crate::proto::tls::server_config;
use crate::workers::Workers;

/// A center on a port of its own, with the given fleet's certificate; gives its address.
async fn center(fleet: &Fleet, workers: &Workers) -> String {
    let config = server_config(&fleet.member(PeerRole::Center, "c1")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    workers.spawn("center", async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(accepted) = accept(stream, &config, FIRST_LIMIT).await {
                let answer = || Answer::Status(Box::new(fake::status()));
                let center = Center::new(move |_, _| Reply::Answer(answer()));
                center.serve(accepted.stream).await;
            }
        }
    });
    address
}

fn home_of(fleet: &Fleet, dir: &Path, centers: &[String]) {
    fleet
        .member(PeerRole::Operator, "admin")
        .store(dir)
        .unwrap();
    store_centers(dir, centers).unwrap();
}

async fn connect(dir: &Path) -> Result<Session, Fault> {
    let dir = dir.to_str().unwrap();
    let Parsed::Command(ucron) = args::parse(["ucron", "--home", dir, "ls"]) else {
        panic!("the line is good");
    };
    let centers = home::load(&ucron.global)?;
    Session::connect(centers, Duration::from_secs(10), &Workers::new()).await
}

#[tokio::test]
async fn a_home_leads_to_its_center_whatever_else_it_lists() {
    let (workers, dir) = (Workers::new(), tempfile::tempdir().unwrap());
    let (fleet, home) = (Fleet::new("f1"), dir.path().join("home"));
    let address = center(&fleet, &workers).await;
    home_of(&fleet, &home, &["127.0.0.1:1".to_owned(), address]);
    let session = connect(&home).await.unwrap();
    let answer = session.ask(Request::Status(Status {})).await.unwrap();
    assert!(matches!(answer, Answer::Status(_)));
}

#[tokio::test]
async fn a_center_of_another_fleet_is_refused() {
    let (workers, dir) = (Workers::new(), tempfile::tempdir().unwrap());
    let home = dir.path().join("home");
    let address = center(&Fleet::new("f2"), &workers).await;
    home_of(&Fleet::new("f1"), &home, &[address]);
    let fault = connect(&home).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Identity, "{fault}");
}

#[tokio::test]
async fn a_home_that_is_missing_or_open_to_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let fault = connect(&home).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Identity);
    assert!(fault.hint.unwrap().contains("ucron login"));
    home_of(&Fleet::new("f1"), &home, &["127.0.0.1:1".to_owned()]);
    let key = home.join("identity.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let fault = connect(&home).await.unwrap_err();
    assert!(fault.message.contains("open to others"), "{fault}");
}
