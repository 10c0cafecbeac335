//! What chance does to a world while it is faulty: crashes at any point and at every durable step, links, clocks,
//! disks, stopped processes. What operators do meanwhile is in `chance.rs`.

use crate::center::Disk;
use crate::host::CrashAt as AgentCrash;
use crate::keeper::CrashAt as KeeperCrash;
use crate::random::Dice;
use crate::world::{Happening, World};

/// How far a wall clock is set at most.
const FAR: u64 = 600_000;
/// How far the center's is set back for good. Beyond that, a center that is started before its clock has caught up
/// may plan anew what has ended: its store does not say what time it was.
const BACK: u64 = 5_000;

impl World {
    /// One fault, or the end of one, on a host or at the center.
    pub fn fault(&mut self, dice: &mut Dice, host: usize) {
        self.hosts[host].disturbed = self.time;
        match dice.below(6) {
            0 => self.center_fault(dice),
            1 => self.agent_fault(dice, host),
            2 => self.keeper_fault(dice, host),
            3 => self.link_fault(dice, host),
            4 => self.clock_fault(dice, host),
            _ => self.pause_fault(dice, host),
        }
    }

    fn center_fault(&mut self, dice: &mut Dice) {
        match dice.below(12) {
            0 => self.center_crashes(dice.percent(50)),
            1 => self.center.crash_at = Some(dice.percent(50)),
            2 => self.center.disk = dice.pick(&[Disk::Full, Disk::Lies]),
            3 => self.center.commit_takes = dice.pick(&[0, 2, 15, 400, 1_000]),
            4 | 5 => {
                self.center.disk = Disk::Well;
                self.center.commit_takes = 2;
            }
            _ => self.center_starts(),
        }
    }

    fn agent_fault(&mut self, dice: &mut Dice, host: usize) {
        let crash = dice.pick(&[AgentCrash::Append, AgentCrash::Written, AgentCrash::Synced]);
        let takes = 500 + dice.below_i64(25_000);
        match dice.below(14) {
            0 => self.agent_crashes(host),
            1 => self.hosts[host].crash_at = Some(crash),
            2 => {
                self.hosts[host].disk_full = true;
                self.hosts[host].disk_torn = dice.percent(50);
            }
            3 | 4 => self.hosts[host].disk_full = false,
            5 if dice.percent(40) => self.reboot(host, takes, dice.percent(50)),
            _ => self.agent_starts(host),
        }
    }

    fn keeper_fault(&mut self, dice: &mut Dice, host: usize) {
        let crash = dice.pick(&[
            KeeperCrash::Record,
            KeeperCrash::Written,
            KeeperCrash::Cloned,
        ]);
        match dice.below(10) {
            0 => self.keeper_crashes(host),
            1 => self.hosts[host].keeper.crash_at = Some(crash),
            2 => self.hosts[host].keeper.full = true,
            3 | 4 => self.hosts[host].keeper.full = false,
            _ => self.keeper_starts(host),
        }
    }

    fn link_fault(&mut self, dice: &mut Dice, host: usize) {
        match dice.below(8) {
            0 => {
                self.nets[host].cut = true;
                self.reset_links(host);
            }
            1 => self.reset_links(host),
            2 | 3 => {
                self.nets[host].stall_up |= dice.percent(60);
                self.nets[host].stall_down |= dice.percent(60);
            }
            _ => self.heal(host),
        }
    }

    /// A link that goes dead in one direction only, for a while: its ends learn of it at different times.
    pub fn half_link(&mut self, dice: &mut Dice, host: usize) {
        self.hosts[host].disturbed = self.time;
        match dice.below(8) {
            0..=3 => self.nets[host].stall_up = true,
            4 => self.nets[host].stall_down = true,
            _ => self.heal(host),
        }
    }

    fn clock_fault(&mut self, dice: &mut Dice, host: usize) {
        let far = dice.pick(&[900, 5_000, 120_000, FAR]);
        let skew = dice.below_i64(2 * far) - i64::try_from(far).unwrap_or(0);
        match dice.below(16) {
            0..=3 => self.set_clock(host, skew),
            4 | 5 => {
                let back = self.hosts[host].skew;
                self.set_clock(host, skew);
                self.after(1_000, Happening::HostClock { host, skew: back });
            }
            6 => {
                let back = self.center.skew;
                self.center.jumps_until = self.time + 1_000;
                self.set_center_clock(back + skew.abs());
                self.after(1_000, Happening::CenterClock { skew: back });
            }
            7 if dice.percent(30) => {
                let step = if dice.percent(50) {
                    skew.abs()
                } else {
                    -dice.below_i64(BACK)
                };
                self.set_center_clock(self.center.skew + step);
            }
            _ => {}
        }
    }

    fn pause_fault(&mut self, dice: &mut Dice, host: usize) {
        match dice.below(8) {
            0 => self.stop_agent(host),
            1 => self.stop_keeper(host),
            2 if dice.percent(50) => self.suspend(host),
            _ => self.resume(host),
        }
    }

    /// Everything works again; the clocks stay as they are.
    pub fn heal_all(&mut self) {
        self.note("everything is healed");
        self.center.disk = Disk::Well;
        self.center.commit_takes = 2;
        self.center.crash_at = None;
        self.center_starts();
        for host in 0..self.hosts.len() {
            self.resume(host);
            self.heal(host);
            let h = &mut self.hosts[host];
            h.disk_full = false;
            h.crash_at = None;
            h.keeper.full = false;
            h.keeper.crash_at = None;
            self.nets[host].repeats = 0;
            self.keeper_starts(host);
            self.agent_starts(host);
        }
    }
}
