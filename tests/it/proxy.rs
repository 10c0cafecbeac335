//! A way to a database server that can be made slow, or break when a commit is under way.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What happens on the way.
#[derive(Default)]
struct Faults {
    /// Milliseconds by which every answer is late.
    delay: AtomicU64,
    /// Whether connections are cut once a commit was carried out, before its answer.
    cuts: AtomicBool,
    /// How often that was.
    cut: AtomicU64,
}

/// The way; its threads end with the connections.
pub struct Proxy {
    pub port: u16,
    faults: Arc<Faults>,
}

impl Proxy {
    /// A way to this port of loopback.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let faults = Arc::<Faults>::default();
        let shared = Arc::clone(&faults);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                    join(client, server, &shared);
                }
            }
        });
        Self { port: own, faults }
    }

    /// Makes every answer so late.
    pub fn delay(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap();
        self.faults.delay.store(delay, Ordering::SeqCst);
    }

    /// Whether connections are cut after a commit, before its answer.
    pub fn cut_commits(&self, cuts: bool) {
        self.faults.cuts.store(cuts, Ordering::SeqCst);
    }

    /// How many were.
    pub fn cut(&self) -> u64 {
        self.faults.cut.load(Ordering::SeqCst)
    }
}

fn join(client: TcpStream, server: TcpStream, faults: &Arc<Faults>) {
    // Set by the one direction for the other: a commit was asked for.
    let commits = Arc::new(AtomicBool::new(false));
    let pairs = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let asked = Arc::clone(&commits);
    std::thread::spawn(move || ask(client, server, &asked));
    let faults = Arc::clone(faults);
    std::thread::spawn(move || answer(pairs.1, pairs.0, &commits, &faults));
}

fn ask(mut client: TcpStream, mut server: TcpStream, commits: &AtomicBool) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read @ 1..) = client.read(&mut bytes) {
        if bytes[..read].windows(6).any(|word| word == b"COMMIT") {
            commits.store(true, Ordering::SeqCst);
        }
        if server.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    close(&client, &server);
}

fn answer(mut server: TcpStream, mut client: TcpStream, commits: &AtomicBool, faults: &Faults) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read @ 1..) = server.read(&mut bytes) {
        // The answer is here, so what was asked is done.
        if commits.swap(false, Ordering::SeqCst) && faults.cuts.load(Ordering::SeqCst) {
            faults.cut.fetch_add(1, Ordering::SeqCst);
            break;
        }
        let delay = faults.delay.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(delay));
        if client.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    close(&client, &server);
}

/// One that is closed already stays so.
fn close(client: &TcpStream, server: &TcpStream) {
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
