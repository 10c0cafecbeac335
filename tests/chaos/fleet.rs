//! The fleet that suffers: a center, agents behind proxies, their tasks, and the hand that breaks and mends.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::books::{Books, Span};
use crate::chance::Chance;
use crate::faults::{Deed, Fault, FaultLog, Part, Plan};
use crate::ledger::{now, spread, until};
use crate::programs::{eventually, signal, tell};
use crate::proxy::{Proxy, Weather};
use crate::world::{World, millis};

/// The agents, by number.
pub const AGENTS: [&str; 3] = ["a1", "a2", "a3"];
const NUMBERS: [usize; 3] = [0, 1, 2];
/// How long after the last fault nothing may be open.
const HEALS_WITHIN: Duration = Duration::from_secs(30);
/// What a client may take to tell a long history.
const ASKING: Duration = Duration::from_secs(5);
/// A daemon's processes on one agent.
pub const PROCESSES: u16 = 2;
/// Its processes on all of them.
const DAEMONS: usize = 6;

/// A task of the mix: its distance in milliseconds, what else its flags say, and its command beside what it writes.
pub struct Work {
    pub name: &'static str,
    pub every: i64,
    pub flags: &'static str,
    pub line: &'static str,
    pub targets: usize,
}

const fn work(
    name: &'static str,
    every: i64,
    targets: usize,
    flags: &'static str,
    line: &'static str,
) -> Work {
    Work {
        name,
        every,
        flags,
        line,
        targets,
    }
}

/// The mix. A task of 1000 is written `* * * * * *`, the others `@every`.
pub const MIX: [Work; 12] = [
    work("tick", 1000, 3, "", "code=0"),
    work("fast", 300, 1, "--overlap allow --target a1", "code=0"),
    work("single", 1500, 1, "--target one", "sleep 0.4; code=0"),
    work("single-long", 2500, 1, "--target one", "sleep 4; code=0"),
    work(
        "single-late",
        5000,
        1,
        "--target one --catch-up --misfire-grace 20s",
        "sleep 1; code=0",
    ),
    work(
        "flaky",
        3000,
        3,
        "--retries 2 --backoff 300ms",
        "code=7; [ $UCRON_ATTEMPT = 1 ] || code=0",
    ),
    work(
        "stuck",
        4000,
        1,
        "--timeout 1s --grace 1s --target a2",
        "sleep 600; code=0",
    ),
    work("bad", 2000, 3, "", "code=3"),
    work("long", 6000, 3, "--overlap allow", "sleep 9; code=0"),
    work(
        "queue",
        2000,
        1,
        "--overlap queue --target a3",
        "sleep 2.4; code=0",
    ),
    work(
        "replaced",
        3000,
        1,
        "--overlap replace --target a2",
        "sleep 600; code=0",
    ),
    work(
        "late",
        5000,
        3,
        "--catch-up --misfire-grace 20s",
        "sleep 0.2; code=0",
    ),
];

/// The fleet under chaos.
pub struct Fleet {
    world: World,
    proxies: Vec<Proxy>,
    chance: Chance,
    log: FaultLog,
    seed: u64,
    /// Where a broken history is kept.
    kept: PathBuf,
    /// Faults that are under way, with when they end.
    present: Vec<(Instant, Fault)>,
}

impl Fleet {
    pub fn new(seed: u64) -> Self {
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}"));
        std::fs::create_dir_all(&kept).unwrap();
        let mut world = World::empty();
        world.must(&["group", "add", "web"]);
        let center = world.address().parse().unwrap();
        let proxies: Vec<_> = AGENTS.iter().map(|_| Proxy::new(center)).collect();
        for (agent, proxy) in AGENTS.iter().zip(&proxies) {
            world.join(agent, "web");
            let settings = format!("centers = [\"{}\"]\n", proxy.address);
            std::fs::write(world.path(agent).join("agent.toml"), settings).unwrap();
            world.start_agent(agent);
        }
        for agent in AGENTS {
            world.is_online(agent);
        }
        let fleet = Self {
            world,
            proxies,
            chance: Chance::new(seed),
            log: FaultLog::new(&kept.join("faults.log")),
            seed,
            kept,
            present: Vec::new(),
        };
        fleet.add_tasks();
        fleet
    }

    fn add_tasks(&self) {
        for work in &MIX {
            let rule = match work.every {
                1000 => "* * * * * *".to_owned(),
                every => format!("@every {every}ms"),
            };
            let mut flags = vec!["--rule", &rule];
            flags.extend(work.flags.split_whitespace());
            self.add(work.name, &flags, &said(work.line));
        }
        let processes = PROCESSES.to_string();
        let flags = ["--daemon", "--processes", &processes, "--grace", "2s"];
        self.add("worker", &flags, &format!("{BEGIN}; exec sleep 100000"));
        self.world.daemon_pids("web/worker", DAEMONS);
    }

    fn add(&self, name: &str, flags: &[&str], line: &str) {
        let truth = format!("TRUTH={}", self.world.work_name("truth"));
        let mut all = vec!["--env", &truth];
        all.extend(flags);
        self.world.add(&format!("web/{name}"), &all, &[line]);
    }

    pub fn fault_log(&self) -> &FaultLog {
        &self.log
    }

    /// Breaks and mends for so long; the span of time whose occurrences are counted.
    pub fn endure(&mut self, length: Duration) -> Span {
        let from = (now() / 1000 + 3) * 1000;
        until(from + 2000);
        self.log.note(&format!("chaos begins, seed {}", self.seed));
        let end = Instant::now() + length;
        let mut next = Instant::now();
        while Instant::now() < end {
            if next <= Instant::now() {
                let plan = Plan::draw(&mut self.chance, &NUMBERS);
                next += self.chance.millis(200..2500);
                self.begin(plan);
            }
            self.mend(Instant::now());
            std::thread::sleep(Duration::from_millis(5));
        }
        Span { from, to: now() }
    }

    fn begin(&mut self, plan: Plan) {
        if self
            .present
            .iter()
            .any(|(_, fault)| fault.part == plan.part)
        {
            return;
        }
        let from = now();
        if self.strike(plan) {
            let fault = Fault {
                part: plan.part,
                deed: plan.deed,
                from,
                to: i64::MAX,
            };
            self.log.note(&format!("{:?} {:?}", plan.part, plan.deed));
            self.present.push((Instant::now() + plan.length, fault));
        }
    }

    /// Does it; false where there is nothing to do it to.
    fn strike(&mut self, plan: Plan) -> bool {
        match (plan.part, plan.deed) {
            (Part::Center, Deed::Kill) => self.world.kill_center(),
            (Part::Center, _) => signal(self.world.center_pid(), Signal::STOP),
            (Part::Agent(of), Deed::Kill) => self.world.kill_agent(AGENTS[of]),
            (Part::Agent(of), _) => signal(self.world.agent_pid(AGENTS[of]), Signal::STOP),
            (Part::Keeper(of), deed) => {
                let Some(keeper) = self.world.find_keeper(AGENTS[of]) else {
                    return false;
                };
                let what = match deed {
                    Deed::Kill => Signal::KILL,
                    _ => Signal::STOP,
                };
                signal(keeper, what);
            }
            (Part::Link(of), Deed::Turn(weather)) => self.proxies[of].set(weather),
            (Part::Link(of), Deed::HalfClose(way)) => self.proxies[of].half_close(way),
            (Part::Link(_), _) => return false,
        }
        true
    }

    /// Ends the faults whose time is over.
    fn mend(&mut self, at: Instant) {
        let over = |(end, _): &mut (Instant, Fault)| *end <= at;
        let ended: Vec<_> = self.present.extract_if(.., over).collect();
        for (_, mut fault) in ended {
            self.undo(&fault);
            fault.to = now();
            self.log.add(fault);
        }
    }

    fn undo(&mut self, fault: &Fault) {
        match (fault.part, fault.deed) {
            (Part::Center, Deed::Kill) => self.world.start_center(),
            (Part::Center, _) => signal(self.world.center_pid(), Signal::CONT),
            (Part::Agent(of), Deed::Kill) => self.world.start_agent(AGENTS[of]),
            (Part::Agent(of), _) => signal(self.world.agent_pid(AGENTS[of]), Signal::CONT),
            (Part::Keeper(of), Deed::Pause) => {
                if let Some(keeper) = self.world.find_keeper(AGENTS[of]) {
                    signal(keeper, Signal::CONT);
                }
            }
            // Its agent starts the next one.
            (Part::Keeper(_), _) => {}
            (Part::Link(of), _) => self.proxies[of].set(Weather::Fair),
        }
    }

    /// Ends all faults, and waits until nothing that was due by then is open; how long that took.
    pub fn heals(&mut self) -> Duration {
        let far = Instant::now() + Duration::from_hours(1);
        self.mend(far);
        let healed = now();
        self.log.note("healed");
        let begun = Instant::now();
        eventually("nothing is open that was due before", || {
            !self.is_open(healed)
        });
        begun.elapsed()
    }

    /// Whether a run is open that was due by then and should not be: `long` and what waits in a queue run on.
    fn is_open(&self, until: i64) -> bool {
        self.world.runs_of(&[]).into_iter().any(|run| {
            run.outcome.is_none() && run.cause != "daemon" && millis(&run.scheduled_at) <= until
        })
    }

    /// Stops everything, waits until all has ended, and takes both sides' books.
    pub fn close(&mut self) -> Books {
        for agent in AGENTS {
            self.world.is_online(agent);
        }
        self.world.daemon_pids("web/worker", DAEMONS);
        self.world.must(&["stop", "--group", "web"]);
        let mut runs = Vec::new();
        eventually("everything has ended", || {
            let before = std::mem::replace(&mut runs, self.world.runs_of(&[]));
            runs == before && runs.iter().all(|run| run.outcome.is_some())
        });
        Books::new(runs, &self.world.written("truth"))
    }

    /// What was counted.
    pub fn tell(&self, books: &Books, healed: Duration, faults: &[String]) {
        let ratio = healed.as_secs_f64() / HEALS_WITHIN.as_secs_f64();
        tell(&format!(
            "chaos, seed {}: {} faults befell {} runs; {}; nothing open after {healed:.1?} (ratio to the limit {ratio:.2}); late_ms {}; {} disagree",
            self.seed,
            self.log.count(),
            books.runs.len(),
            books.outcomes(),
            spread(&books.lateness()),
            faults.len()
        ));
        assert!(healed < HEALS_WITHIN + ASKING, "open for {healed:?}");
    }

    /// What does not agree, and where all that was written about it is kept.
    pub fn verdict(&self, faults: &[String]) -> String {
        format!(
            "seed {}: {} do not agree; kept in {}; again: UCRON_CHAOS_SEED={} cargo test --test chaos no_run_is_lost\n{}",
            self.seed,
            faults.len(),
            self.kept.display(),
            self.seed,
            faults[..faults.len().min(20)].join("\n")
        )
    }

    fn keep(&self) {
        let runs = self.world.ucron(&["runs", "--limit", "0", "-o", "json"]);
        std::fs::write(self.kept.join("history.json"), runs.out).unwrap();
        std::fs::write(self.kept.join("truth"), self.world.written("truth")).unwrap();
        for name in ["center"].iter().chain(&AGENTS) {
            let log = format!("{name}.log");
            let _ = std::fs::copy(self.world.path(&log), self.kept.join(&log));
            let log = format!("{name}.keeper.log");
            let _ = std::fs::copy(
                self.world.path(name).join("keeper.log"),
                self.kept.join(&log),
            );
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // A keeper that is stopped would answer no more.
        let present = std::mem::take(&mut self.present);
        for (_, fault) in present
            .iter()
            .filter(|(_, fault)| fault.deed == Deed::Pause)
        {
            self.undo(fault);
        }
        if std::thread::panicking() {
            self.keep();
            tell(&format!(
                "chaos failed with seed {}; its faults are in {}",
                self.seed,
                self.kept.display()
            ));
        }
    }
}

/// The command's first line in the truth, in one write.
const BEGIN: &str = r#"printf 'begin %s %s %s %s %s %s %s\n' "$UCRON_RUN_ID" "$UCRON_ATTEMPT" "$UCRON_TASK" "$UCRON_AGENT" "$UCRON_SLOT" "$UCRON_SCHEDULED_AT" "$$" >>"$TRUTH""#;

/// A command that writes its begin, works, and writes its end with the code that it exits with.
fn said(line: &str) -> String {
    format!(
        r#"{BEGIN}; {line}; printf 'end %s %s %s\n' "$UCRON_RUN_ID" "$UCRON_ATTEMPT" "$code" >>"$TRUTH"; exit $code"#
    )
}
