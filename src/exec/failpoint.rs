//! Named places at which a test ends a program as `kill -9` does: one for every row of the recovery table in
//! ARCHITECTURE.md. They are in debug builds only; a release build has neither the places nor their names.
//!
//! `UCRON_FAILPOINT` names a file; its one line is `NAME COUNT WHO`: strike when NAME is reached the COUNTth time,
//! WHO being `self`, or `parent` for the program that started the one which reaches it. The file is taken away
//! before the strike, so that the next program lives.

/// Makes the points, their names, and what is on disk when they are reached.
macro_rules! points {
    ($($point:ident = $name:literal, $words:literal;)+) => {
        /// A place in a run's way.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Point {
            $(#[doc = $words] $point,)+
        }

        #[cfg(debug_assertions)]
        impl Point {
            /// Name and words of all, in a run's order.
            const ALL: &[(&'static str, &'static str)] = &[$(($name, $words)),+];

            /// Names and words of those in the agent, or of the others: one a line.
        pub fn list(of_agent: bool) -> String {
            let own = |(name, _): &&(&str, &str)| name.starts_with("agent-") == of_agent;
            let points = Self::ALL.iter().filter(own);
            points.map(|(name, words)| format!("{name}: {words}\n")).collect()
        }

        fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    AgentPlanReceived = "agent-plan-received", "a plan came; nothing of it is written";
    AgentPlanWritten = "agent-plan-written", "the plan is written, not synced";
    AgentPlanSynced = "agent-plan-synced", "the plan is synced, not confirmed";
    AgentCancelReceived = "agent-cancel-received", "a cancel came; nothing of it is written";
    AgentCancelSynced = "agent-cancel-synced", "the cancel is synced, not confirmed";
    AgentDecisionMade = "agent-decision-made", "the agent closed a run itself; nothing of it is written";
    AgentDecisionSynced = "agent-decision-synced", "the closing is synced, not reported";
    AgentRunDue = "agent-run-due", "a run is due and not given to the keeper";
    AgentStartTold = "agent-start-told", "the start was told to the keeper";
    AgentEndHeard = "agent-end-heard", "the keeper told an end; it is not reported";
    AgentReportSent = "agent-report-sent", "the end was reported, not acknowledged";
    AgentReportAcknowledged = "agent-report-acknowledged", "the end was acknowledged; that is not written";
    AgentRunDropped = "agent-run-dropped", "the run is dropped; the keeper is not told to forget it";
    KeeperStartHeard = "keeper-start-heard", "a start came; nothing of it is written";
    KeeperStartingWritten = "keeper-starting-written", "`starting` is written, nothing made";
    KeeperBeforeClone = "keeper-before-clone", "output file and cgroup are made, no process is";
    ChildBeforeMark = "child-before-mark", "the process is made; it has not marked itself";
    ChildMarked = "child-marked", "the process is marked, not executed";
    ChildExecFailed = "child-exec-failed", "execve failed; the mark does not say so";
    KeeperCloned = "keeper-cloned", "the command runs; only its mark says so";
    KeeperStartedWritten = "keeper-started-written", "`started` is written, the agent not told";
    KeeperStopWritten = "keeper-stop-written", "`stopping` is written, no signal sent";
    KeeperExitSeen = "keeper-exit-seen", "the exit status was taken; it is not written";
    KeeperWaitingWritten = "keeper-waiting-written", "the next attempt is written, not due";
    KeeperEndedWritten = "keeper-ended-written", "`ended` is written, not synced";
    KeeperEndedSynced = "keeper-ended-synced", "`ended` is synced, the agent not told";
    KeeperForgetHeard = "keeper-forget-heard", "the center has the result; that is not written";
    KeeperForgetWritten = "keeper-forget-written", "the center has the result, which is written";
    JournalMadeAnew = "journal-made-anew", "a new journal is synced beside the old one";
    StubBegun = "stub-begun", "the sub-reaper runs; its record is empty";
    StubRecorded = "stub-recorded", "the sub-reaper is recorded, no command made";
    StubCloned = "stub-cloned", "the command runs; only its mark says so";
    StubStartedWritten = "stub-started-written", "the command is recorded, the keeper not told";
    StubExitSeen = "stub-exit-seen", "the exit status was taken; it is not recorded";
    StubExitWritten = "stub-exit-written", "the exit status is recorded";
}

#[cfg(debug_assertions)]
pub use armed::{Who, armed, end_self, environment, reach};

/// Strikes if a test asked for it.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_: Point) {}

#[cfg(debug_assertions)]
mod armed {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, OnceLock};

    use rustix::process::{Pid, Signal, getpid, getppid, kill_process};

    use super::Point;

    const VARIABLE: &str = "UCRON_FAILPOINT";
    /// One thread at a time reads and counts.
    static READING: Mutex<()> = Mutex::new(());

    /// Who is ended.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Who {
        /// The process that reaches the point.
        Itself,
        /// The one that started it.
        Parent,
    }

    fn file() -> Option<&'static Path> {
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        FILE.get_or_init(|| std::env::var_os(VARIABLE).map(PathBuf::from))
            .as_deref()
    }

    /// What a program that is started without an environment needs to be struck too.
    pub fn environment() -> Vec<CString> {
        let text =
            file().map(|path| [VARIABLE.as_bytes(), b"=", path.as_os_str().as_bytes()].concat());
        text.and_then(|text| CString::new(text).ok())
            .into_iter()
            .collect()
    }

    /// Whether this time is the one asked for; if so it is the only one.
    pub fn armed(point: Point) -> Option<Who> {
        let path = file()?;
        let _alone = READING.lock().ok()?;
        let line = std::fs::read_to_string(path).ok()?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, count, who] = words[..] else {
            return None;
        };
        let count: u32 = count.parse().ok().filter(|_| name == point.name())?;
        if count > 1 {
            // A count that cannot be written strikes later, which the test sees.
            drop(std::fs::write(
                path,
                format!("{name} {} {who}\n", count - 1),
            ));
            return None;
        }
        std::fs::remove_file(path).ok()?;
        Some(if who == "parent" {
            Who::Parent
        } else {
            Who::Itself
        })
    }

    /// Strikes if a test asked for it.
    pub fn reach(point: Point) {
        match armed(point) {
            None => {}
            Some(Who::Itself) => end_self(),
            Some(Who::Parent) => {
                // The one that started this may be gone, and init in its place.
                let exe =
                    |pid: Pid| std::fs::read_link(format!("/proc/{}/exe", pid.as_raw_pid())).ok();
                let own = exe(getpid());
                if let Some(parent) = getppid().filter(|parent| exe(*parent) == own) {
                    end(parent);
                }
            }
        }
    }

    /// Ends this program as `kill -9` does.
    pub fn end_self() {
        end(getpid());
    }

    /// Returns when it is gone.
    fn end(pid: Pid) {
        // An error means that it has gone already.
        let _ = kill_process(pid, Signal::KILL);
        while getpid() == pid || getppid() == Some(pid) {
            std::thread::yield_now();
        }
    }
}
