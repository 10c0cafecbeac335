//! Runs that are made ready before they are due: output file and cgroup are there and open. A start may come while its
//! run is still being made ready, and does it itself then.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard};

use super::supervise::Key;

/// Armed runs at most: each holds two descriptors. Further ones are made ready when they start.
const MAX_ARMED: usize = 1024;
/// From this number on are descriptors of armed and running runs: a child copies those below it.
const HIGH: i32 = 256;

/// What a run needs beside its text.
#[derive(Debug)]
pub(super) struct Ready {
    pub output: File,
    pub cgroup: Option<OwnedFd>,
}

impl Ready {
    fn lifted(self) -> Self {
        Self {
            output: lift(self.output.into()).into(),
            cgroup: self.cgroup.map(lift),
        }
    }

    /// The output's descriptor is given to a child, which copies all below it.
    fn lowered(self) -> Self {
        match rustix::io::fcntl_dupfd_cloexec(&self.output, 0) {
            Ok(low) => Self {
                output: low.into(),
                ..self
            },
            Err(_) => self,
        }
    }
}

/// A descriptor that is kept for long, out of the way of those that are given to a child; where it cannot be, as it is.
pub(super) fn lift(fd: OwnedFd) -> OwnedFd {
    rustix::io::fcntl_dupfd_cloexec(&fd, HIGH).unwrap_or(fd)
}

/// Where an armed run stands.
#[derive(Debug)]
enum State {
    /// To be made ready, or about to be.
    Wanted,
    Ready(Ready),
    /// Not wanted any more, while it was to be made ready.
    Unwanted,
}

/// All armed runs.
#[derive(Debug, Default)]
pub(super) struct Armed(Mutex<HashMap<Key, State>>);

impl Armed {
    fn runs(&self) -> Option<MutexGuard<'_, HashMap<Key, State>>> {
        self.0.lock().ok()
    }

    /// Whether this run is to be made ready: there is room, and nobody has begun.
    pub fn want(&self, key: &Key) -> bool {
        let Some(mut runs) = self.runs() else {
            return false;
        };
        let room = runs.len() < MAX_ARMED;
        match runs.get_mut(key) {
            Some(state @ State::Unwanted) => {
                *state = State::Wanted;
                true
            }
            None if room => {
                runs.insert(key.clone(), State::Wanted);
                true
            }
            _ => false,
        }
    }

    /// Whether it still is.
    pub fn is_wanted(&self, key: &Key) -> bool {
        let Some(mut runs) = self.runs() else {
            return false;
        };
        if matches!(runs.get(key), Some(State::Unwanted)) {
            runs.remove(key);
        }
        matches!(runs.get(key), Some(State::Wanted))
    }

    /// It is ready, or could not be made so; whether what was made must be taken away.
    pub fn put(&self, key: &Key, ready: Option<Ready>) -> bool {
        let Some(mut runs) = self.runs() else {
            return true;
        };
        match (runs.remove(key), ready) {
            (Some(State::Wanted), Some(ready)) => {
                runs.insert(key.clone(), State::Ready(ready.lifted()));
                false
            }
            (Some(State::Unwanted), _) => true,
            (Some(known @ State::Ready(_)), _) => {
                runs.insert(key.clone(), known);
                false
            }
            // Its start has overtaken it, and uses the same.
            (None, _) | (Some(State::Wanted), None) => false,
        }
    }

    /// For its start.
    pub fn take(&self, key: &Key) -> Option<Ready> {
        match self.runs()?.remove(key) {
            Some(State::Ready(ready)) => Some(ready.lowered()),
            _ => None,
        }
    }

    /// It will not start; whether what was made must be taken away.
    pub fn give_up(&self, key: &Key) -> bool {
        let Some(mut runs) = self.runs() else {
            return false;
        };
        match runs.get_mut(key) {
            Some(State::Ready(_)) => {
                runs.remove(key);
                true
            }
            Some(state) => {
                *state = State::Unwanted;
                false
            }
            None => false,
        }
    }

    /// Every one of them.
    pub fn keys(&self) -> Vec<Key> {
        self.runs()
            .map(|runs| runs.keys().cloned().collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunId;

    fn key() -> Key {
        (RunId::hash(b"a"), 1)
    }

    fn ready() -> Ready {
        Ready {
            output: File::open("/dev/null").unwrap(),
            cgroup: None,
        }
    }

    /// Orders to a fresh table, one word each, and what each answered.
    fn check(orders: &str, wanted: &str) {
        let (armed, key) = (Armed::default(), key());
        let answers: Vec<&str> = orders
            .split(' ')
            .map(|order| match order {
                "want" => armed.want(&key),
                "wanted?" => armed.is_wanted(&key),
                "put" => armed.put(&key, Some(ready())),
                "fail" => armed.put(&key, None),
                "take" => armed.take(&key).is_some(),
                "give-up" => armed.give_up(&key),
                other => panic!("{other}"),
            })
            .map(|answer| if answer { "yes" } else { "no" })
            .collect();
        assert_eq!(answers.join(" "), wanted, "{orders}");
    }

    #[test]
    fn a_run_is_made_ready_once_whatever_overtakes_it() {
        check("want want wanted? put take take", "yes no yes no yes no");
        // The start was first: what is made then is not kept.
        check("want take wanted? put take", "yes no no no no");
        check("want wanted? take put take", "yes yes no no no");
        // It was given up: before it was made, while it was, after.
        check("want give-up wanted? take", "yes no no no");
        check("want wanted? give-up put take", "yes yes no yes no");
        check("want wanted? put give-up take", "yes yes no yes no");
        check(
            "want wanted? give-up want put take",
            "yes yes no yes no yes",
        );
        check("want wanted? fail want", "yes yes no yes");
    }

    #[test]
    fn descriptors_that_are_kept_lie_above_those_that_are_given_on() {
        use std::os::fd::AsRawFd;
        let (armed, key) = (Armed::default(), key());
        armed.want(&key);
        armed.put(&key, Some(ready()));
        let is_high = {
            let runs = armed.runs().unwrap();
            matches!(&runs[&key], State::Ready(ready) if ready.output.as_raw_fd() >= HIGH)
        };
        assert!(is_high);
        assert!(armed.take(&key).unwrap().output.as_raw_fd() < HIGH);
    }
}
