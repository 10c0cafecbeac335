//! What befell the fleet, and when: written down as it happens, asked by who judges misses.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::chance::Chance;
use crate::proxy::{Way, Weather};

/// What a fault befalls; agents by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Center,
    Agent(usize),
    Keeper(usize),
    Link(usize),
}

/// What is done to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// `kill -9`; a new one is started when the fault ends.
    Kill,
    /// SIGSTOP, and SIGCONT when the fault ends.
    Pause,
    Turn(Weather),
    HalfClose(Way),
}

/// One fault, as chance has it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub part: Part,
    pub deed: Deed,
    pub length: Duration,
}

impl Plan {
    /// The next fault of a fleet with so many agents. Most are short; some outlast the lead.
    pub fn draw(chance: &mut Chance, agents: &[usize]) -> Self {
        let agent = chance.of(agents);
        let part = match chance.within(0..100) {
            0..20 => Part::Center,
            20..45 => Part::Agent(agent),
            45..60 => Part::Keeper(agent),
            _ => Part::Link(agent),
        };
        let deed = match part {
            Part::Link(_) => Self::weather(chance),
            _ if chance.percent(65) => Deed::Kill,
            _ => Deed::Pause,
        };
        let length = match chance.within(0..100) {
            0..60 => chance.millis(50..1500),
            60..95 => chance.millis(1500..6000),
            _ => chance.millis(6000..14_000),
        };
        Self { part, deed, length }
    }

    fn weather(chance: &mut Chance) -> Deed {
        let way = chance.of(&[Way::ToCenter, Way::ToAgent]);
        match chance.within(0..6) {
            0 => Deed::Turn(Weather::Cut),
            1 => Deed::Turn(Weather::Hole(way)),
            2 => Deed::Turn(Weather::Dead),
            3 => Deed::Turn(Weather::Delay(chance.millis(20..800))),
            4 => Deed::Turn(Weather::Throttle(500)),
            _ => Deed::HalfClose(way),
        }
    }
}

/// A fault that was: from its begin until all was as before, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub part: Part,
    pub deed: Deed,
    pub from: i64,
    pub to: i64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part,
            deed,
            from,
            to,
        } = self;
        write!(f, "{from}..{to} {part:?} {deed:?}")
    }
}

/// All faults, in memory and in a file that stays.
pub struct FaultLog {
    file: File,
    faults: Vec<Fault>,
}

impl FaultLog {
    pub fn new(path: &Path) -> Self {
        Self {
            file: File::create(path).unwrap(),
            faults: Vec::new(),
        }
    }

    pub fn note(&mut self, what: &str) {
        writeln!(self.file, "{} {what}", crate::ledger::now()).unwrap();
    }

    pub fn add(&mut self, fault: Fault) {
        writeln!(self.file, "{fault}").unwrap();
        self.faults.push(fault);
    }

    pub fn count(&self) -> usize {
        self.faults.len()
    }

    /// Whether one of these was under way in this time.
    pub fn has(&self, from: i64, to: i64, wanted: impl Fn(&Fault) -> bool) -> bool {
        let meets = |fault: &&Fault| fault.from <= to && fault.to >= from;
        self.faults.iter().filter(meets).any(wanted)
    }
}
