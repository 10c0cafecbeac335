//! A TCP proxy between an agent and the center, whose weather can be changed at any time.
//!
//! Bytes are held, never lost or changed: that is what TCP makes of a network that drops packets for a while.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

/// How often a link that is held looks at the weather.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes moved at a time.
const CHUNK: usize = 4096;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    ToCenter,
    ToAgent,
}

/// What befalls the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weather {
    Fair,
    /// Links are closed, and new ones at once.
    Cut,
    /// Nothing comes through in this direction.
    Hole(Way),
    /// Nothing comes through at all.
    Dead,
    /// Every piece takes as long.
    Delay(Duration),
    /// So many bytes per tenth of a second.
    Throttle(usize),
}

#[derive(Debug)]
struct Sky {
    weather: Weather,
    /// Grows when one direction of all links is closed.
    half_closed: (u64, Way),
    over: bool,
}

/// The proxy; it ends when it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    sky: Arc<Mutex<Sky>>,
}

impl Proxy {
    pub fn new(center: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let sky = Arc::new(Mutex::new(Sky {
            weather: Weather::Fair,
            half_closed: (0, Way::ToAgent),
            over: false,
        }));
        let shared = sky.clone();
        std::thread::spawn(move || accept(&listener, center, &shared));
        Self { address, sky }
    }

    pub fn set(&self, weather: Weather) {
        self.sky.lock().unwrap().weather = weather;
    }

    /// Closes one direction of the links that are there now; the other stays open.
    pub fn half_close(&self, way: Way) {
        let mut sky = self.sky.lock().unwrap();
        sky.half_closed = (sky.half_closed.0 + 1, way);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.sky.lock().unwrap().over = true;
    }
}

fn accept(listener: &TcpListener, center: SocketAddr, sky: &Arc<Mutex<Sky>>) {
    while !sky.lock().unwrap().over {
        match listener.accept() {
            Ok((agent, _)) => join(&agent, center, sky),
            Err(_) => sleep(LOOK),
        }
    }
}

/// Joins both ends by two pumps. Where the center does not answer the agent's end is closed.
fn join(agent: &TcpStream, center: SocketAddr, sky: &Arc<Mutex<Sky>>) {
    let Ok(center) = TcpStream::connect(center) else {
        return;
    };
    for (from, to, way) in [
        (agent, &center, Way::ToCenter),
        (&center, agent, Way::ToAgent),
    ] {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        from.set_nonblocking(false).unwrap();
        from.set_read_timeout(Some(LOOK)).unwrap();
        to.set_nodelay(true).unwrap();
        let sky = sky.clone();
        std::thread::spawn(move || pump(from, to, way, &sky));
    }
}

/// Moves bytes one way until an end is closed, or the weather closes it.
fn pump(mut from: TcpStream, mut to: TcpStream, way: Way, sky: &Mutex<Sky>) {
    let begun = sky.lock().unwrap().half_closed.0;
    let mut bytes = [0; CHUNK];
    loop {
        let (weather, half_closed, over) = {
            let sky = sky.lock().unwrap();
            (sky.weather, sky.half_closed, sky.over)
        };
        if over || weather == Weather::Cut {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
        if half_closed.0 > begun && half_closed.1 == way {
            break;
        }
        let most = match weather {
            Weather::Hole(held) if held == way => 0,
            Weather::Dead => 0,
            Weather::Throttle(bytes) => bytes.min(CHUNK),
            _ => CHUNK,
        };
        if most == 0 {
            sleep(LOOK);
            continue;
        }
        match from.read(&mut bytes[..most]) {
            Ok(0) => break,
            Ok(count) => {
                linger(weather);
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            Err(error) if is_idle(error.kind()) => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// What a piece of bytes waits for.
fn linger(weather: Weather) {
    match weather {
        Weather::Delay(time) => sleep(time),
        Weather::Throttle(_) => sleep(Duration::from_millis(100)),
        _ => {}
    }
}

fn is_idle(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
