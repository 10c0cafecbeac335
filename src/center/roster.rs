//! The fleet's centers as the store knows them: each writes a row of itself every second. Pure but for JSON; the
//! rows are read and written in `seat.rs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::Core;
use super::event::{Effect, Now};
use super::failing::Health;
use crate::model::{AgentName, Epoch, UnixMs};
use crate::proto::agent::ToAgent;
use crate::proto::client::ToClient;
use crate::proto::hello::{ErrorFrame, LinkError, Welcome};
use crate::proto::view::CenterView;

/// Names of the rows begin so; the center's id follows.
pub(super) const PREFIX: &str = "center:";
/// The row in which a center is asked to give up the lead.
pub(super) const STEP_DOWN: &str = "center:step-down";
/// After so long it is forgotten: nobody is told its address any more.
const FORGOTTEN: Duration = Duration::from_hours(7 * 24);

/// What a center says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CenterRow {
    /// Its id, as in its certificate.
    pub id: String,
    /// Where others reach it, `HOST:PORT`; empty where it does not know.
    pub addresses: Vec<String>,
    /// Its epoch; 0 while it stands by.
    pub epoch: Epoch,
    /// Its program's version.
    pub version: String,
    /// When it said so, by its own clock.
    pub seen_at: UnixMs,
}

/// All centers, seen by one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roster {
    /// Where this one is reached.
    pub own: Vec<String>,
    /// The others, by id.
    pub others: Vec<CenterRow>,
    /// When the lease was renewed last, on the boot-time clock; none where it does not run out.
    pub renewed: Option<Duration>,
}

impl Roster {
    /// The roster of the center `own`, of all rows.
    pub fn new(own: &CenterRow, rows: Vec<CenterRow>, renewed: Option<Duration>) -> Self {
        let is_known = |row: &CenterRow| row.seen_at.plus(FORGOTTEN) > own.seen_at;
        let mut others: Vec<CenterRow> = rows
            .into_iter()
            .filter(|row| row.id != own.id && is_known(row))
            .collect();
        others.sort_by(|one, two| one.id.cmp(&two.id));
        Self {
            own: own.addresses.clone(),
            others,
            renewed,
        }
    }

    /// Whether this is not the only center.
    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Where all centers are reached, this one first.
    pub fn addresses(&self) -> Vec<String> {
        let others = self.others.iter().flat_map(|row| &row.addresses);
        self.own.iter().chain(others).cloned().collect()
    }

    /// The same, or these where nothing is known.
    pub fn addresses_or(&self, known: &[String]) -> Vec<String> {
        let all = self.addresses();
        if all.is_empty() { known.to_vec() } else { all }
    }

    /// The center that leads, if it is another.
    pub fn leader(&self) -> Option<&CenterRow> {
        let leading = self.others.iter().filter(|row| row.epoch > Epoch(0));
        leading.max_by_key(|row| row.epoch)
    }

    /// The others, for `status`.
    pub fn standbys(&self) -> Vec<CenterView> {
        let view = |row: &CenterRow| CenterView {
            id: row.id.clone(),
            addresses: row.addresses.clone(),
            epoch: row.epoch,
            version: row.version.clone(),
            last_seen_at: row.seen_at,
        };
        self.others.iter().map(view).collect()
    }

    /// How long ago the lease was renewed.
    pub fn lease_age_ms(&self, now: Now) -> Option<u64> {
        let age = now.mono.saturating_sub(self.renewed?);
        Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Core {
    /// Where all centers are reached, for `status`.
    pub(super) fn told_centers(&self) -> Vec<String> {
        self.roster.addresses_or(&self.settings.addresses)
    }

    /// What the store says of the centers: whoever is linked is told when their addresses change.
    pub(super) fn learn_centers(&mut self, now: Now, roster: Roster) {
        let changed = roster.addresses() != self.roster.addresses();
        self.roster = roster;
        self.watch_centers(now);
        if !changed {
            return;
        }
        let agents = self.sessions.iter().map(|session| {
            let name = self.fleet.agent_name(&session.agent);
            (session.id, session.protocol, AgentName::parse(&name).ok())
        });
        for (id, protocol, name) in agents.collect::<Vec<_>>() {
            let welcome = self.welcome(now, protocol, name);
            self.later(Effect::ToAgent(id, Box::new(ToAgent::Welcome(welcome))));
        }
        for (id, protocol) in self.clients.ids() {
            let welcome = self.welcome(now, protocol, None);
            self.now(Effect::ToClient(id, Box::new(ToClient::Welcome(welcome))));
        }
    }

    /// What this center says to whoever has said hello. While it cannot write and others may, it is as if it stood by.
    pub(super) fn welcome(&self, now: Now, protocol: u32, agent: Option<AgentName>) -> Welcome {
        let leads = self.health == Health::Well || !self.roster.has_others();
        Welcome {
            protocol,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fleet: self.settings.fleet.to_string(),
            agent,
            epoch: if leads { self.settings.epoch } else { Epoch(0) },
            now: now.at,
            centers: self.roster.addresses(),
        }
    }

    /// Closes the links of all clients, who then look for a center that leads.
    pub(super) fn close_clients(&mut self, why: &str) {
        for (id, _) in self.clients.ids() {
            let error = ErrorFrame {
                code: LinkError::Closing,
                message: why.to_owned(),
            };
            self.now(Effect::Close(id, error));
            self.client_down(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, epoch: u64, seen_at: i64) -> CenterRow {
        CenterRow {
            id: id.to_owned(),
            addresses: vec![format!("{id}:9502")],
            epoch: Epoch(epoch),
            version: "0.1.0".to_owned(),
            seen_at: UnixMs(seen_at),
        }
    }

    #[test]
    fn the_own_row_comes_first_and_the_forgotten_not_at_all() {
        let week = 7 * 24 * 3_600_000;
        let own = row("b", 0, week + 1_000);
        let rows = vec![
            row("c", 3, week),
            row("b", 9, 5),
            row("old", 1, 10),
            row("a", 2, week),
        ];
        let roster = Roster::new(&own, rows, None);
        assert_eq!(roster.addresses(), ["b:9502", "a:9502", "c:9502"]);
        assert_eq!(roster.leader().map(|row| row.id.as_str()), Some("c"));
        let now = Now {
            at: UnixMs(week + 20_000),
            mono: Duration::ZERO,
        };
        assert_eq!(roster.lease_age_ms(now), None);
    }
}
