//! What waits for the starters: starts before everything else, so that getting later runs ready holds up no run that is
//! due now.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};

use super::starter::Job;

/// The queue of all starters.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    starts: VecDeque<Job>,
    others: VecDeque<Job>,
    closed: bool,
}

impl Jobs {
    /// Adds a job; one starter takes it.
    pub fn push(&self, job: Job) {
        let Ok(mut queue) = self.queue.lock() else {
            return;
        };
        match job {
            Job::Launch(_) => queue.starts.push_back(job),
            _ => queue.others.push_back(job),
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// No more jobs come; what waits is still done.
    pub fn close(&self) {
        if let Ok(mut queue) = self.queue.lock() {
            queue.closed = true;
        }
        self.filled.notify_all();
    }

    /// Waits for the next job; none once the queue is closed and empty.
    pub fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock().ok()?;
        loop {
            let job = queue.starts.pop_front();
            if let Some(job) = job.or_else(|| queue.others.pop_front()) {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).ok()?;
        }
    }
}
