//! The center's process around its core: carries its effects out on the world, crashes, and starts again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ucron::center::{
    CenterRow, Core, Effect, Event, LogLevel, Now, Roster, Route, SessionId, Ticket,
};
use ucron::model::{Epoch, GroupName, UnixMs};
use ucron::proto::agent::ToAgent;
use ucron::store::{RunQuery, Write};

use crate::net::Item;
use crate::store::{MemStore, Run};
use crate::world::{BEGIN, CENTER_UP, Happening, World, settings};

/// How the store is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Disk {
    /// It writes.
    #[default]
    Well,
    /// It writes nothing and says so.
    Full,
    /// It writes, and says that it did not.
    Lies,
}

/// The process.
#[derive(Debug)]
pub struct Center {
    /// Its core while it runs.
    pub core: Option<Core>,
    /// Counts its starts.
    pub life: u64,
    alarm: u64,
    committing: Option<Vec<Write>>,
    /// The store's health.
    pub disk: Disk,
    /// Whether the center is killed at its next commit, and whether that is durable then.
    pub crash_at: Option<bool>,
    /// Until then its clock shows what will be taken back: no center starts on that, which none could doubt.
    pub jumps_until: i64,
    /// Whether its clock was ever set back.
    pub set_back: bool,
    /// A copy of the store, as an asynchronous replica has it.
    pub copy: Option<MemStore>,

    /// How long a batch takes.
    pub commit_takes: i64,
    /// Its clock less the true time.
    pub skew: i64,
    /// How long a silent agent's run stays open.
    pub lost_after: Duration,
    /// What it keeps of its conditions on its disk.
    pub kept: String,
    /// When it was killed.
    pub crashes: Vec<i64>,
    /// Notices given to its notify command: when, and the JSON.
    pub notices: Vec<(i64, String)>,
    /// Whether the notify command fails.
    pub notify_fails: bool,
    /// Other centers, by their addresses: whether each lives, and when it last wrote its row.
    pub others: BTreeMap<String, (bool, UnixMs)>,
}

impl Default for Center {
    fn default() -> Self {
        Self {
            core: None,
            life: 0,
            alarm: 0,
            committing: None,
            disk: Disk::Well,
            crash_at: None,
            jumps_until: 0,
            set_back: false,
            copy: None,
            commit_takes: 2,
            skew: 0,
            lost_after: Duration::from_hours(1),
            kept: String::new(),
            crashes: Vec::new(),
            notices: Vec::new(),
            notify_fails: false,
            others: BTreeMap::new(),
        }
    }
}

impl World {
    /// The center's clocks.
    pub fn center_now(&self) -> Now {
        let up = CENTER_UP + self.time.unsigned_abs();
        Now {
            at: UnixMs(BEGIN + self.time + self.center.skew),
            mono: Duration::from_millis(up),
        }
    }

    /// Another center stands by from now on, or dies; the first one to do so has the rows read from then on.
    pub fn other_center(&mut self, address: &str, lives: bool) {
        let is_first = self.center.others.is_empty();
        let at = self.true_time();
        self.center.others.insert(address.to_owned(), (lives, at));
        if is_first {
            self.after(1_000, Happening::Meet);
        }
    }

    /// The centers' rows are written and read, once a second, while the store answers.
    pub fn meet(&mut self) {
        self.after(1_000, Happening::Meet);
        if self.center.disk != Disk::Well {
            return;
        }
        let at = self.true_time();
        let row = |(address, (lives, seen_at)): (&String, &mut (bool, UnixMs))| {
            if *lives {
                *seen_at = at;
            }
            CenterRow {
                id: address.clone(),
                addresses: vec![address.clone()],
                epoch: Epoch(0),
                version: "0.1.0".to_owned(),
                seen_at: *seen_at,
            }
        };
        let rows = self.center.others.iter_mut().map(row).collect();
        let own = CenterRow {
            id: "own".to_owned(),
            addresses: vec!["127.0.0.1:9502".to_owned()],
            epoch: Epoch(self.center.life),
            version: "0.1.0".to_owned(),
            seen_at: at,
        };
        let roster = Roster::new(&own, rows, None);
        self.center_event(Event::Centers(Box::new(roster)));
    }

    /// The center's wall clock is set; nobody tells it.
    pub fn set_center_clock(&mut self, skew: i64) {
        self.note(&format!("the center's clock is {skew} ms off"));
        self.center.set_back |= skew < self.center.skew;
        self.store.latest = self.store.latest.max(self.center_now().at);
        self.center.skew = skew;
        if self.center.set_back {
            // An agent that has not heard of it starts by the clock as it was.
            self.truth.tolerance = i64::MAX;
            self.store.set_back = true;
        }
    }

    /// Starts the center on what the store holds.
    pub fn center_starts(&mut self) {
        let jumps = self.time < self.center.jumps_until;
        if self.center.core.is_some() || jumps {
            return;
        }
        self.center.life += 1;
        self.note(&format!("center starts, epoch {}", self.center.life));
        let settings = settings(self.center.life, self.center.lost_after);
        let mut core = Core::new(settings, &self.store.snapshot(), self.center_now());
        core.recall(self.center_now(), &self.center.kept);
        self.center.core = Some(core);
        self.center_event(Event::Routes(BTreeSet::from([None])));
        self.center_event(Event::Wake);
        self.connect_clients();
    }

    /// Kills the center. A batch under way is durable or not.
    pub fn center_crashes(&mut self, batch_is_durable: bool) {
        if self.center.core.take().is_none() {
            return;
        }
        self.note("center crashes");
        self.center.crashes.push(self.time);
        if let Some(batch) = self.center.committing.take()
            && batch_is_durable
        {
            self.store.commit(self.center_now().at, batch);
        }
        self.center_ends_links();
        self.disconnect_clients();
    }

    /// The store dies, and its copy takes its place: what was committed since is lost. The center starts on it.
    pub fn store_is_the_copy(&mut self) {
        self.note("the store's copy takes its place");
        self.center_crashes(false);
        let copy = self.center.copy.take().expect("there is a copy");
        let old = std::mem::replace(&mut self.store, copy);
        self.store.broken = old.broken;
        self.store.forgot = true;
        self.center_starts();
    }

    /// Brings an event to the core and carries out what it wants.
    pub fn center_event(&mut self, event: Event) {
        let now = self.center_now();
        let Some(core) = self.center.core.as_mut() else {
            return;
        };
        for effect in core.handle(now, event) {
            self.center_effect(effect);
        }
    }

    /// The notify command ends at once.
    fn notified(&mut self, route: Route, notice: String) {
        self.note(&format!("notified: {notice}"));
        self.center.notices.push((self.time, notice));
        let result = if self.center.notify_fails {
            Err("exited with code 1".to_owned())
        } else {
            Ok(())
        };
        let life = self.center.life;
        self.after(1, Happening::Notified(life, route, result));
    }

    /// A notify command has ended.
    pub fn notify_ended(&mut self, life: u64, route: Route, result: Result<(), String>) {
        if self.center.life == life {
            self.center_event(Event::Notified(route, result));
        }
    }

    fn center_effect(&mut self, effect: Effect) {
        let life = self.center.life;
        let delay = self.center.commit_takes;
        match effect {
            Effect::Commit(batch) => {
                assert!(
                    self.center.committing.is_none(),
                    "two batches are under way"
                );
                if self.loud {
                    for write in &batch {
                        eprintln!("          center: {write:?}");
                    }
                }
                self.center.committing = Some(batch);
                self.after(delay, Happening::Committed { life });
            }
            Effect::Load => self.after(delay, Happening::Loaded { life }),
            Effect::ReadRuns(ticket, query) => {
                self.after(delay, Happening::RunsRead(life, ticket, query));
            }
            Effect::ReadAudit(ticket, groups, limit) => {
                self.after(delay, Happening::AuditRead(life, ticket, groups, limit));
            }
            Effect::ToAgent(SessionId(number), frame) => self.send_down(number, Item::Frame(frame)),
            Effect::ToClient(session, frame) => self.tell_client(session, *frame),
            Effect::Close(session, error) => {
                if self.conns.contains_key(&session.0) {
                    self.center_closes(session.0, Some(ToAgent::Error(error)));
                } else {
                    self.close_client(session, &error);
                }
            }
            // Nobody joins here, and every agent dials.
            Effect::Issue(..) | Effect::Add(..) | Effect::Dial(_) | Effect::RaiseEpoch(_) => {}
            Effect::Notify(route, notice) => self.notified(route, notice),
            Effect::Keep(text) => self.center.kept = text,
            Effect::Alarm(at) => {
                self.center.alarm += 1;
                let number = self.center.alarm;
                let ahead = at.0 - self.center_now().at.0;
                self.after(ahead, Happening::CenterWake { life, number });
            }
            Effect::Log(LogLevel::Info, text) => self.note(&format!("center: {text}")),
            Effect::Log(LogLevel::Warn, text) => self.note(&format!("center warns: {text}")),
        }
    }

    /// The alarm rings, unless it was set anew.
    pub fn center_wake(&mut self, life: u64, number: u64) {
        if self.center.life == life && self.center.alarm == number {
            self.center_event(Event::Wake);
        }
    }

    /// The batch under way is done.
    pub fn committed(&mut self, life: u64) {
        if self.center.life != life || self.center.core.is_none() {
            return;
        }
        if let Some(durable) = self.center.crash_at.take() {
            return self.center_crashes(durable);
        }
        let Some(batch) = self.center.committing.take() else {
            return;
        };
        let at = self.center_now().at;
        let done = match self.center.disk {
            Disk::Well => {
                self.store.commit(at, batch);
                Ok(())
            }
            Disk::Full => Err("the store cannot be written: no space".to_owned()),
            Disk::Lies => {
                self.store.commit(at, batch);
                Err("the store cannot be written: connection lost".to_owned())
            }
        };
        self.center_event(Event::Committed(done));
        self.unstarted_stay_so();
    }

    /// What was started is never `missed` or `skipped`.
    fn unstarted_stay_so(&mut self) {
        use ucron::model::Outcome::{Lost, Missed, Skipped};
        let at = self.center_now().at;
        let runs = self.store.runs.values();
        let fresh = runs.filter(|run| run.ended_at == Some(at));
        let lost = |run: &&Run| run.ending.as_ref().is_some_and(|e| e.outcome == Lost);
        let lost = fresh.clone().filter(lost);
        let lost = lost.map(|run| run.row.run.run_id.clone());
        self.truth.given_up.extend(lost);
        if self.store.forgot {
            return;
        }
        let wrong: Vec<String> = fresh
            .filter(|run| self.truth.is_known_started(&run.row.run.run_id))
            .filter_map(|run| {
                let ending = run.ending.as_ref()?;
                matches!(ending.outcome, Missed | Skipped).then(|| {
                    format!(
                        "run {} is {} ({}) but was started",
                        run.row.run.run_id, ending.outcome, ending.reason
                    )
                })
            })
            .collect();
        self.store.broken.extend(wrong);
    }

    /// The store is read anew.
    pub fn loaded(&mut self, life: u64) {
        if self.center.life != life {
            return;
        }
        let result = if self.center.disk == Disk::Full {
            Err("the store cannot be read: no space".to_owned())
        } else {
            Ok(Box::new(self.store.snapshot()))
        };
        self.center_event(Event::Loaded(result));
    }

    /// Runs are read.
    pub fn runs_read(&mut self, life: u64, ticket: Ticket, query: &RunQuery) {
        if self.center.life == life {
            let runs = self.store.query(query);
            self.center_event(Event::RunsRead(ticket, Ok(runs)));
        }
    }

    /// The audit log is read.
    pub fn audit_read(
        &mut self,
        life: u64,
        ticket: Ticket,
        groups: Option<&BTreeSet<GroupName>>,
        limit: u32,
    ) {
        if self.center.life == life {
            let rows = self.store.audit(groups, limit);
            self.center_event(Event::AuditRead(ticket, Ok(rows)));
        }
    }
}
