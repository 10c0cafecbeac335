//! What is wrong on this host, told to the center with every heartbeat for as long as it is so.

use std::time::Duration;

use super::super::event::Now;
use super::AgentCore;
use crate::exec::wire::BootMs;
use crate::proto::agent::{Trouble, TroubleKind};

/// A keeper that is away for less is only being restarted.
const KEEPER_AWAY: Duration = Duration::from_secs(5);
/// Less room than this is too little, or less than a twentieth of a small disk.
const LOW: u64 = 1 << 30;

/// What is wrong on this host.
#[derive(Debug, Default)]
pub(super) struct Host {
    journal: Option<String>,
    keeper: Option<(BootMs, String)>,
    disk: Option<String>,
}

impl Host {
    pub fn journal_fails(&mut self, reason: &str) {
        self.journal = Some(reason.to_owned());
    }

    pub fn journal_writes(&mut self) {
        self.journal = None;
    }

    pub fn keeper_is_away(&mut self, reason: &str, now: Now) {
        let since = self.keeper.take().map_or(now.boot, |(since, _)| since);
        self.keeper = Some((since, reason.to_owned()));
    }

    pub fn keeper_is_back(&mut self) {
        self.keeper = None;
    }

    /// There is so much room. What is too little is enough again a quarter above, lest it comes and goes.
    pub fn space(&mut self, free: u64, total: u64) {
        let low = LOW.min(total / 20);
        let enough = if self.disk.is_some() {
            low + low / 4
        } else {
            low
        };
        let mebibytes = free >> 20;
        self.disk = (free < enough)
            .then(|| format!("{mebibytes} MiB are free where its state directory is"));
    }
}

impl AgentCore {
    /// What the next heartbeat tells.
    pub(super) fn troubles(&self, now: Now) -> Vec<Trouble> {
        let host = &self.host;
        let away = host.keeper.as_ref();
        let away = away.filter(|(since, _)| now.boot.since(*since) >= KEEPER_AWAY);
        let all = [
            (TroubleKind::Journal, host.journal.clone()),
            (TroubleKind::Keeper, away.map(|(_, reason)| reason.clone())),
            (TroubleKind::Disk, host.disk.clone()),
        ];
        let told = all.into_iter();
        told.filter_map(|(kind, reason)| {
            Some(Trouble {
                kind,
                reason: reason?,
            })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMs;

    fn check(deeds: impl FnOnce(&mut Host), at: u64, wanted: &[TroubleKind]) {
        let mut core = AgentCore::default();
        deeds(&mut core.host);
        let told = core.troubles(now(at));
        let kinds: Vec<TroubleKind> = told.iter().map(|trouble| trouble.kind).collect();
        assert_eq!(kinds, wanted, "{told:?}");
    }

    fn now(seconds: u64) -> Now {
        Now {
            boot: BootMs(seconds * 1000),
            wall: UnixMs(0),
        }
    }

    #[test]
    fn a_keeper_is_missed_when_it_has_been_away_for_a_while() {
        let away = |host: &mut Host| {
            host.keeper_is_away("gone", now(10));
            host.keeper_is_away("cannot be started", now(14));
        };
        check(away, 14, &[]);
        check(away, 15, &[TroubleKind::Keeper]);
        let back = |host: &mut Host| {
            away(host);
            host.keeper_is_back();
        };
        check(back, 60, &[]);
    }

    #[test]
    fn a_journal_that_writes_again_is_no_trouble() {
        check(
            |host| host.journal_fails("full"),
            0,
            &[TroubleKind::Journal],
        );
        let over = |host: &mut Host| {
            host.journal_fails("full");
            host.journal_writes();
        };
        check(over, 0, &[]);
    }

    #[test]
    fn room_is_too_little_below_a_gibibyte_or_a_twentieth() {
        const G: u64 = 1 << 30;
        check(|host| host.space(2 * G, 1000 * G), 0, &[]);
        check(|host| host.space(G - 1, 1000 * G), 0, &[TroubleKind::Disk]);
        check(|host| host.space(G / 2, G), 0, &[]);
        check(|host| host.space(G / 21, G), 0, &[TroubleKind::Disk]);
        let little_more = |host: &mut Host| {
            host.space(G - 1, 1000 * G);
            host.space(G + 1, 1000 * G);
        };
        check(little_more, 0, &[TroubleKind::Disk]);
    }
}
